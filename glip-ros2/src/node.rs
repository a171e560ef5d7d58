//! The node among others: from a topic of images to one of detections.

use std::{
    sync::{Arc, OnceLock, Weak, mpsc},
    time::Duration,
};

use futures::{
    StreamExt,
    channel::oneshot,
    executor::block_on,
    future::{Either, select},
    pin_mut,
};
use glip::{Detector, Segmenter};
use ros2_client::{Message, NodeOptions, Publisher, Subscription};

use crate::{
    arguments::{Arguments, RosOptions},
    diagnostics::{Diagnostics, Report},
    error::{Result, in_one_line},
    faults::Faults,
    looker::{Asked, Looker},
    messages::{CompressedImage, DiagnosticArray, Image},
    outputs::{Outputs, Pictures},
    parameters,
    picture::{Picture, now},
    ros::Ros,
    service::Serving,
    threads,
};

/// How often is told how it does.
const DIAGNOSTICS_PERIOD: Duration = Duration::from_secs(1);

/// The types that topics and the service have.
const DETECTIONS: &str = "vision_msgs/Detection2DArray";
const IMAGE: &str = "sensor_msgs/Image";
const COMPRESSED_IMAGE: &str = "sensor_msgs/CompressedImage";
const DIAGNOSTICS: &str = "diagnostic_msgs/DiagnosticArray";
const GROUND: (&str, &str) = ("glip_msgs", "Ground");

/// Looks at images until it is to stop.
pub(crate) fn run(arguments: &Arguments, stop: oneshot::Receiver<()>) -> Result<()> {
    let loader = arguments.loader();
    let detector = loader.detector(arguments.model())?;
    let device = detector.device();
    let segmenter = arguments.segmenter().map(|folder| loader.segmenter(folder));
    let asked = asked(arguments, &detector);
    let there = Arc::new(OnceLock::<Weak<Looker>>::new());
    let faults = Arc::new(Faults::default());

    let options = parameters::declare(&asked, arguments.model());
    let options = with_set_action(options, Arc::clone(&there));
    let RosOptions { name, domain, .. } = &arguments.ros;
    let ros = Ros::start(&arguments.ros.namespace, name, *domain, options)?;
    let outputs = outputs(arguments, &ros, segmenter.transpose()?, &faults)?;
    let tell = move |shown, result| outputs.tell(shown, result);
    let options = arguments.live_options();
    let looker = Arc::new(Looker::start(loader, detector, asked, options, tell)?);
    there.get_or_init(|| Arc::downgrade(&looker));
    ros.spin()?;
    let _serving = serve(arguments, &ros, Arc::downgrade(&looker))?;

    let diagnostics = Diagnostics {
        node: name.clone(),
        topic: arguments.image.clone(),
        device: device.to_string(),
        before: Report::default(),
    };
    let told = ros.publisher("/diagnostics", "topic", DIAGNOSTICS)?;
    let _diagnosing = diagnose(diagnostics, told, Arc::downgrade(&looker), &faults)?;
    log::info!("looking at {} for {:?}", arguments.image, arguments.prompt);
    match arguments.compressed {
        true => {
            let images = images(arguments, &ros, COMPRESSED_IMAGE)?;
            look::<CompressedImage>(&images, &looker, &faults, stop);
        }
        false => {
            let images = images(arguments, &ros, IMAGE)?;
            look::<Image>(&images, &looker, &faults, stop);
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

/// Where results go.
fn outputs(
    arguments: &Arguments,
    ros: &Ros,
    segmenter: Option<Segmenter>,
    faults: &Arc<Faults>,
) -> Result<Outputs> {
    let detections = ros.publisher(&arguments.detections, "--detections", DETECTIONS)?;
    let picture = |topic: &Option<String>, option| {
        let topic = topic.as_deref();
        topic
            .map(|topic| ros.output(topic, option, IMAGE))
            .transpose()
    };
    let pictures = Pictures {
        masks: picture(&arguments.masks, "--masks")?,
        annotated: picture(&arguments.annotated, "--annotated")?,
        segmenter,
    };
    Outputs::new(detections, pictures, Arc::clone(faults))
}

/// Where images come from.
fn images<P: Message + 'static>(
    arguments: &Arguments,
    ros: &Ros,
    kind: &str,
) -> Result<Subscription<P>> {
    ros.subscription(&arguments.image, "--image", kind, arguments.reliable)
}

/// Answers who sends an image and what to look for, beside what looks at the camera's.
fn serve(arguments: &Arguments, ros: &Ros, looker: Weak<Looker>) -> Result<Serving> {
    let server = ros.server(&arguments.service, "--service", GROUND, arguments.ros.rmw)?;
    Serving::start(server, move || Some(looker.upgrade()?.detector()))
}

/// Has parameters do something once there is something that looks.
fn with_set_action(options: NodeOptions, there: Arc<OnceLock<Weak<Looker>>>) -> NodeOptions {
    options.parameter_set_action(Box::new(move |name, value| {
        match there.get().and_then(Weak::upgrade) {
            Some(looker) => {
                parameters::set(&looker, name, value).map_err(|error| in_one_line(&error))
            }
            None => Ok(()),
        }
    }))
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
    looker: Weak<Looker>,
    faults: &Arc<Faults>,
) -> Result<mpsc::Sender<()>> {
    let (ends, end) = mpsc::channel();
    let faults = Arc::clone(faults);
    let tell = move || {
        while end.recv_timeout(DIAGNOSTICS_PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
            let Some(looker) = looker.upgrade() else {
                break;
            };
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
    threads::start("the thread of the diagnostics", "glip-diagnose", tell)?;
    Ok(ends)
}
