//! The node among others: from a topic of images to one of detections.

use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use futures::{
    StreamExt,
    channel::oneshot,
    executor::block_on,
    future::{Either, select},
    pin_mut,
};
use glip::{
    Detector,
    live::{FrameResult, Outcome},
};
use ros2_client::{
    Context, ContextOptions, Message, MessageTypeName, Name, Node, NodeName, NodeOptions,
    Publisher, QosProfile, Subscription,
    qos::{History, WhenFull},
};

use crate::{
    arguments::Arguments,
    detections,
    diagnostics::{Diagnostics, Report},
    error::{Error, Result, in_one_line},
    faults::Faults,
    looker::{Asked, Looker},
    messages::{CompressedImage, Detection2DArray, DiagnosticArray, Header, Image},
    parameters,
    picture::{Picture, now},
};

/// As the documentation of ROS has it for sensors: what gets lost is gone, and there is a newer one.
const SENSOR: QosProfile = QosProfile::subscription_default();

/// As the default of ROS. A subscriber that does not keep up is no reason to wait.
const RESULTS: QosProfile = QosProfile::publisher_default()
    .history(History::KeepLast { depth: 10 })
    .reliability_reliable(WhenFull::Fail);

/// How often is told how it does.
const DIAGNOSTICS_PERIOD: Duration = Duration::from_secs(1);

/// Looks at images until it is to stop.
pub(crate) fn run(arguments: &Arguments, stop: oneshot::Receiver<()>) -> Result<()> {
    let loader = arguments.loader();
    let detector = loader.load(arguments.model())?;
    let asked = asked(arguments, &detector);
    let looker = Arc::new(OnceLock::<Looker>::new());
    let faults = Arc::new(Faults::default());

    let model = arguments.model().map(|folder| folder.to_string_lossy());
    let options = parameters::declare(&asked, model.as_deref());
    let mut ros = Ros::start(arguments, with_set_action(options, &looker))?;
    let results = ros.publisher(
        &arguments.detections,
        "--detections",
        "vision_msgs/Detection2DArray",
    )?;
    let tell = teller(results, Arc::clone(&faults));
    let options = arguments.live_options();
    let started = Looker::start(loader, &detector, asked, options, tell)?;
    let looker_there = looker.get_or_init(|| started);
    ros.spin()?;

    let diagnostics = Diagnostics {
        node: arguments.ros.name.clone(),
        topic: arguments.image.clone(),
        device: detector.device().to_string(),
        before: Report::default(),
    };
    let told = ros.publisher("/diagnostics", "topic", "diagnostic_msgs/DiagnosticArray")?;
    let _diagnosing = diagnose(diagnostics, told, &looker, &faults)?;
    log::info!("looking at {} for {:?}", arguments.image, arguments.prompt);
    let qos = match arguments.reliable {
        true => SENSOR.reliability_reliable(WhenFull::DEFAULT),
        false => SENSOR,
    };
    match arguments.compressed {
        true => {
            let images = ros.subscription(arguments, "sensor_msgs/CompressedImage", &qos)?;
            look::<CompressedImage>(&images, looker_there, &faults, stop);
        }
        false => {
            let images = ros.subscription(arguments, "sensor_msgs/Image", &qos)?;
            look::<Image>(&images, looker_there, &faults, stop);
        }
    }
    Ok(())
}

fn asked(arguments: &Arguments, detector: &Detector) -> Asked {
    let own = detector.postprocessor().options().score_threshold;
    Asked {
        prompt: arguments.prompt.clone(),
        threshold: arguments.threshold.unwrap_or(own),
    }
}

/// Has parameters do something once there is something that looks.
fn with_set_action(options: NodeOptions, looker: &Arc<OnceLock<Looker>>) -> NodeOptions {
    let looker = Arc::clone(looker);
    options.parameter_set_action(Box::new(move |name, value| match looker.get() {
        Some(looker) => parameters::set(looker, name, value).map_err(|error| in_one_line(&error)),
        None => Ok(()),
    }))
}

/// Publishes what was found.
fn teller(
    results: Publisher<Detection2DArray>,
    faults: Arc<Faults>,
) -> impl Fn(Header, &FrameResult) + Send + Sync + 'static {
    move |header, result| match &result.outcome {
        Outcome::Found(found) => {
            let message = detections::message(header, found, &result.tracks);
            if let Err(error) = results.publish(message) {
                faults.add(format!("detections were not published: {error}"));
            }
        }
        Outcome::Failed(error) => faults.add(in_one_line(error)),
        // Counted, and told of in the diagnostics.
        _ => {}
    }
}

/// Shows images as they come, until it is to stop.
fn look<P: Picture + Message + 'static>(
    images: &Subscription<P>,
    looker: &Looker,
    faults: &Faults,
    stop: oneshot::Receiver<()>,
) {
    let looking = images.async_stream().for_each(|image| {
        let shown = match image {
            Ok((image, _)) => looker.show(image).map_err(|error| in_one_line(&error)),
            Err(error) => Err(format!("an image could not be read: {error}")),
        };
        if let Err(fault) = shown {
            faults.add(fault);
        }
        std::future::ready(())
    });
    pin_mut!(looking);
    match block_on(select(looking, stop)) {
        Either::Left(_) => log::error!("no more images are to be had"),
        Either::Right(_) => log::info!("stopped"),
    }
}

/// Tells once a second how it does, until what is returned is dropped.
fn diagnose(
    mut diagnostics: Diagnostics,
    told: Publisher<DiagnosticArray>,
    looker: &Arc<OnceLock<Looker>>,
    faults: &Arc<Faults>,
) -> Result<mpsc::Sender<()>> {
    let (ends, end) = mpsc::channel();
    let (looker, faults) = (Arc::clone(looker), Arc::clone(faults));
    let tell = move || {
        while end.recv_timeout(DIAGNOSTICS_PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
            let Some(looker) = looker.get() else { break };
            let report = Report {
                stats: looker.stats(),
                faults: faults.record(),
                prompt: looker.prompt(),
            };
            if let Err(error) = told.publish(diagnostics.message(now(), report)) {
                log::warn!("diagnostics were not published: {error}");
            }
        }
    };
    start("the thread of the diagnostics", "glip-diagnose", tell)?;
    Ok(ends)
}

/// What of ROS there is.
struct Ros {
    node: Node,
}

impl Ros {
    fn start(arguments: &Arguments, options: NodeOptions) -> Result<Self> {
        let ros = &arguments.ros;
        let name = NodeName::new(&ros.namespace, &ros.name).map_err(|error| Error::Name {
            option: "the node's --namespace and --name",
            name: format!("{}/{}", ros.namespace.trim_end_matches('/'), ros.name),
            reason: error.to_string(),
        })?;
        let context = ContextOptions::new().domain_id(ros.domain);
        let context = Context::with_options(context).map_err(|error| {
            let what = format!("a participant of DDS in domain {}", ros.domain);
            create(what, &error)
        })?;
        let node = context.new_node(name, options);
        Ok(Self {
            node: node.map_err(|error| create("the node".to_owned(), &error))?,
        })
    }

    /// Takes part in discovery and serves parameters, on a thread of its own, as long as there is the node.
    fn spin(&mut self) -> Result<()> {
        let what = "what serves the node's parameters";
        let spinner = self.node.spinner();
        let spinner = spinner.map_err(|error| create(what.to_owned(), &error))?;
        start(what, "glip-ros", move || {
            if let Err(error) = block_on(spinner.spin()) {
                log::error!("parameters can be set no more: {error}");
            }
        })
    }

    fn publisher<M: Message>(
        &mut self,
        topic: &str,
        option: &'static str,
        kind: &str,
    ) -> Result<Publisher<M>> {
        let topic = self.topic(topic, option, kind, &RESULTS)?;
        let publisher = self.node.create_publisher(&topic, None);
        publisher.map_err(|error| create(format!("a publisher of {kind}"), &error))
    }

    fn subscription<M: Message + 'static>(
        &mut self,
        arguments: &Arguments,
        kind: &str,
        qos: &QosProfile,
    ) -> Result<Subscription<M>> {
        let topic = self.topic(&arguments.image, "--image", kind, qos)?;
        let subscription = self.node.create_subscription(&topic, None);
        subscription.map_err(|error| create(format!("a subscription to {kind}"), &error))
    }

    fn topic(
        &self,
        name: &str,
        option: &'static str,
        kind: &str,
        qos: &QosProfile,
    ) -> Result<ros2_client::dds::rustdds::Topic> {
        let parsed = Name::parse(name).map_err(|error| Error::Name {
            option,
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let (package, message) = kind.split_once('/').unwrap_or_default();
        let kind = MessageTypeName::new(package, message);
        let topic = self.node.create_topic(&parsed, kind, qos);
        topic.map_err(|error| create(format!("the topic {name}"), &error))
    }
}

fn create(what: String, error: &dyn std::error::Error) -> Error {
    let reason = in_one_line(error);
    Error::Create { what, reason }
}

fn start(what: &'static str, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    match thread {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Start {
            what,
            source: source.into(),
        }),
    }
}
