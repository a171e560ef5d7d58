//! What of ROS there is: the node, its topics and its services.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::executor::block_on;
use ros2_client::{
    Context, ContextOptions, Message, MessageTypeName, Name, Node, NodeName, NodeOptions,
    Publisher, QosProfile, Server, ServiceMapping, ServiceTypeName, Subscription,
    qos::{History, WhenFull},
};

use crate::{
    error::{Error, Result, in_one_line},
    threads,
};

/// As the documentation of ROS has it for sensors: what gets lost is gone, and there is a newer one.
const SENSOR: QosProfile = QosProfile::subscription_default();

/// As the default of ROS. A subscriber that does not keep up is no reason to wait.
const RESULTS: QosProfile = QosProfile::publisher_default()
    .history(History::KeepLast { depth: 10 })
    .reliability_reliable(WhenFull::Fail);

/// The same, of which the last is kept.
const PICTURES: QosProfile = QosProfile::publisher_default().reliability_reliable(WhenFull::Fail);

/// As the default of ROS.
const SERVICE: QosProfile =
    QosProfile::publisher_default().history(History::KeepLast { depth: 10 });

/// The node among others.
pub(crate) struct Ros {
    node: Arc<Mutex<Node>>,
    name: NodeName,
}

impl Ros {
    /// The node of this name in a domain.
    pub(crate) fn start(
        namespace: &str,
        name: &str,
        domain: u16,
        options: NodeOptions,
    ) -> Result<Self> {
        let name = NodeName::new(namespace, name).map_err(|error| Error::Name {
            option: "the node's --namespace and --name",
            name: format!("{}/{name}", namespace.trim_end_matches('/')),
            reason: error.to_string(),
        })?;
        let distribution = std::env::var("ROS_DISTRO").unwrap_or_default();
        if let Some(build) = other_build(&distribution, cfg!(feature = "jazzy")) {
            log::warn!(
                "nodes of ROS_DISTRO={distribution} tell of one another in another way than this one, which `ros2 node list` and \
                 `ros2 param` will not find: {build}"
            );
        }
        let context = Context::with_options(ContextOptions::new().domain_id(domain));
        let context = context
            .map_err(|error| create(format!("a participant of DDS in domain {domain}"), &error))?;
        let node = context.new_node(name.clone(), options);
        let node = node.map_err(|error| create("the node".to_owned(), &error))?;
        Ok(Self {
            node: Arc::new(Mutex::new(node)),
            name,
        })
    }

    /// Takes part in discovery and serves parameters, on a thread of its own, as long as there is the node.
    pub(crate) fn spin(&self) -> Result<()> {
        let what = "what serves the node's parameters";
        let spinner = self.node().spinner();
        let spinner = spinner.map_err(|error| create(what.to_owned(), &error))?;
        threads::start(what, "glip-ros", move || {
            if let Err(error) = block_on(spinner.spin()) {
                log::error!("parameters can be set no more: {error}");
            }
        })?;
        Ok(())
    }

    pub(crate) fn publisher<M: Message>(
        &self,
        topic: &str,
        option: &'static str,
        kind: &str,
    ) -> Result<Publisher<M>> {
        self.publisher_with(topic, option, kind, &RESULTS)
    }

    /// A topic of pictures, which are made if somebody wants them.
    pub(crate) fn output<M: Message>(
        &self,
        topic: &str,
        option: &'static str,
        kind: &str,
    ) -> Result<Output<M>> {
        Ok(Output {
            publisher: self.publisher_with(topic, option, kind, &PICTURES)?,
            topic: self.absolute(topic),
            node: Arc::downgrade(&self.node),
        })
    }

    /// A subscription as of a sensor's messages; with `is_reliable`, those that get lost are sent again.
    pub(crate) fn subscription<M: Message + 'static>(
        &self,
        topic: &str,
        option: &'static str,
        kind: &str,
        is_reliable: bool,
    ) -> Result<Subscription<M>> {
        let qos = match is_reliable {
            true => SENSOR.reliability_reliable(WhenFull::DEFAULT),
            false => SENSOR,
        };
        let topic = self.topic(topic, option, kind, &qos)?;
        let subscription = self.node().create_subscription(&topic, None);
        subscription.map_err(|error| create(format!("a subscription to {kind}"), &error))
    }

    /// A service, for nodes that call it by this mapping to DDS.
    pub(crate) fn server<Q, A>(
        &self,
        service: &str,
        option: &'static str,
        (package, kind): (&str, &str),
        mapping: ServiceMapping,
    ) -> Result<Server<Q, A>>
    where
        Q: Message + Clone + 'static,
        A: Message + 'static,
    {
        let name = self.parse(service, option)?;
        let kind = ServiceTypeName::new(package, kind);
        let server = self
            .node()
            .create_server(mapping, &name, &kind, SERVICE, SERVICE);
        server.map_err(|error| create(format!("the service {service}"), &error))
    }

    fn publisher_with<M: Message>(
        &self,
        topic: &str,
        option: &'static str,
        kind: &str,
        qos: &QosProfile,
    ) -> Result<Publisher<M>> {
        let topic = self.topic(topic, option, kind, qos)?;
        let publisher = self.node().create_publisher(&topic, None);
        publisher.map_err(|error| create(format!("a publisher of {kind}"), &error))
    }

    fn topic(
        &self,
        name: &str,
        option: &'static str,
        kind: &str,
        qos: &QosProfile,
    ) -> Result<ros2_client::dds::rustdds::Topic> {
        let parsed = self.parse(name, option)?;
        let (package, message) = kind.split_once('/').unwrap_or_default();
        let kind = MessageTypeName::new(package, message);
        let topic = self.node().create_topic(&parsed, kind, qos);
        topic.map_err(|error| create(format!("the topic {name}"), &error))
    }

    fn parse(&self, name: &str, option: &'static str) -> Result<Name> {
        let parsed = Name::parse(&self.absolute(name));
        parsed.map_err(|error| Error::Name {
            option,
            name: name.to_owned(),
            reason: error.to_string(),
        })
    }

    /// A name of a topic or a service as seen from the root; `~` stands for the node.
    fn absolute(&self, name: &str) -> String {
        absolute(&self.name, name)
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to install a build whose nodes tell of one another as those of this distribution do, if this one's do not: the way changed once, with
/// Iron.
fn other_build(distribution: &str, is_since_iron: bool) -> Option<&'static str> {
    match (distribution, is_since_iron) {
        ("humble", true) => {
            Some("install it with `--no-default-features --features humble,load-dynamic,nano`")
        }
        ("" | "humble", _) | (_, true) => None,
        (_, false) => Some("install it with its default features"),
    }
}

fn absolute(node: &NodeName, name: &str) -> String {
    match name.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", node.fully_qualified_name()),
        None if name.starts_with('/') => name.to_owned(),
        None => format!("{}/{name}", node.namespace().trim_end_matches('/')),
    }
}

/// A topic whose messages are made only if somebody subscribes.
pub(crate) struct Output<M: Message> {
    publisher: Publisher<M>,
    topic: String,
    /// A node ends with the program, and not with who publishes last.
    node: Weak<Mutex<Node>>,
}

impl<M: Message> Output<M> {
    /// Whether somebody subscribes.
    pub(crate) fn is_wanted(&self) -> bool {
        self.node.upgrade().is_some_and(|node| {
            let node = node.lock().unwrap_or_else(PoisonError::into_inner);
            node.subscription_count(&self.topic) > 0
        })
    }

    pub(crate) fn publish(&self, message: M) -> Result<()> {
        let published = self.publisher.publish(message);
        published.map_err(|error| Error::Publish {
            topic: self.topic.clone(),
            reason: error.to_string(),
        })
    }
}

fn create(what: String, error: &dyn std::error::Error) -> Error {
    let reason = in_one_line(error);
    Error::Create { what, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_named_where_nodes_would_not_be_seen() {
        for (distribution, is_since_iron, expected) in [
            ("", true, None),
            ("", false, None),
            ("humble", false, None),
            ("humble", true, Some("humble,load-dynamic")),
            ("jazzy", true, None),
            ("kilted", true, None),
            ("jazzy", false, Some("default features")),
        ] {
            let build = other_build(distribution, is_since_iron);
            let is_right = match expected {
                None => build.is_none(),
                Some(words) => build.is_some_and(|build| build.contains(words)),
            };
            assert!(is_right, "{distribution} {is_since_iron}: {build:?}");
        }
    }

    #[test]
    fn names_are_seen_from_the_namespace_or_the_node() {
        for (namespace, name, expected) in [
            ("/", "/image", "/image"),
            ("/", "image", "/image"),
            ("/", "~/ground", "/glip/ground"),
            ("/robot", "/image", "/image"),
            ("/robot", "front/image", "/robot/front/image"),
            ("/robot", "~/ground", "/robot/glip/ground"),
        ] {
            let node = NodeName::new(namespace, "glip").unwrap();
            assert_eq!(absolute(&node, name), expected, "{namespace} {name}");
        }
    }
}
