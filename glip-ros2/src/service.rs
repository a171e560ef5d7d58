//! The service: an image and what to look for, and what is found is the answer.

use std::thread::JoinHandle;

use futures::{StreamExt, channel::oneshot, executor::block_on, future::select};
use glip::{Control, Detections, Detector, GroundOptions};
use ros2_client::Server;

use crate::{
    error::{Result, in_one_line},
    messages::{Detection2DArray, GroundRequest, GroundResponse},
    outputs::detections,
    picture::Picture,
    threads,
};

/// What answers requests, until this is dropped.
pub(crate) struct Serving {
    /// Of what runs for a request.
    control: Control,
    ends: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Answers requests as they come, one after the other, with the detector that there is then.
    pub(crate) fn start(
        server: Server<GroundRequest, GroundResponse>,
        detector: impl Fn() -> Option<Detector> + Send + 'static,
    ) -> Result<Self> {
        let (ends, end) = oneshot::channel();
        let control = Control::new();
        let controlled = control.clone();
        let detector = move || Some(detector()?.controlled(&controlled));
        let thread = threads::start("the thread of the service", "glip-service", move || {
            serve(&server, detector, end);
        })?;
        Ok(Self {
            control,
            ends: Some(ends),
            thread: Some(thread),
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.control.stop();
        drop(self.ends.take());
        threads::join(self.thread.take());
    }
}

fn serve(
    server: &Server<GroundRequest, GroundResponse>,
    detector: impl Fn() -> Option<Detector>,
    end: oneshot::Receiver<()>,
) {
    let answered = server.receive_request_stream().for_each(|request| {
        let sent = request.map(|(id, request)| {
            let response = detector().map(|detector| answer(&detector, request));
            response.map(|response| server.send_response(id, response))
        });
        match sent {
            Ok(None | Some(Ok(()))) => {}
            Ok(Some(Err(error))) => log::error!("an answer was not sent: {error}"),
            Err(error) => log::error!("a request could not be read: {error}"),
        }
        std::future::ready(())
    });
    block_on(select(answered, end));
}

fn answer(detector: &Detector, request: GroundRequest) -> GroundResponse {
    let header = request.image.header.clone();
    match find(detector, request) {
        Ok(found) => GroundResponse {
            success: true,
            message: String::new(),
            detections: detections::message(header, &found, &[]),
        },
        Err(error) => GroundResponse {
            success: false,
            message: in_one_line(&error),
            detections: Detection2DArray {
                header,
                detections: Vec::new(),
            },
        },
    }
}

fn find(detector: &Detector, request: GroundRequest) -> Result<Detections> {
    let GroundRequest {
        image,
        prompt,
        threshold,
    } = request;
    let options = match threshold <= 0.0 {
        true => GroundOptions::default(),
        false => GroundOptions::default().with_score_threshold(threshold),
    };
    let frame = image.into_frame()?;
    Ok(detector.ground_with(frame.image()?, prompt.as_str(), &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{loader::Loader, messages::Image, picture::fixtures::coffee};

    #[test]
    fn an_answer_is_what_the_detector_finds_or_why_it_cannot() {
        let detector = Loader::default().detector(None).unwrap();
        let request = |prompt: &str, threshold| GroundRequest {
            image: coffee(7),
            prompt: prompt.to_owned(),
            threshold,
        };
        let count = |threshold| {
            let response = answer(&detector, request("cup . table", threshold));
            assert!(
                response.success && response.message.is_empty(),
                "{response:?}"
            );
            assert_eq!(response.detections.header, coffee(7).header);
            response.detections.detections.len()
        };
        assert!(count(0.0) > 0 && count(0.0) == count(-1.0));
        assert!(count(0.01) > count(0.0) && count(1.0) == 0);

        let unknown = GroundRequest {
            image: Image {
                encoding: "32FC1".to_owned(),
                ..coffee(7)
            },
            ..request("cup", 0.0)
        };
        for (request, word) in [
            (request("", 0.0), "no phrases"),
            (request("cup", 7.0), "score_threshold"),
            (request("cup", f32::NAN), "score_threshold"),
            (unknown, "32FC1"),
        ] {
            let response = answer(&detector, request);
            assert!(!response.success, "{word}");
            assert!(response.message.contains(word), "{}", response.message);
            assert_eq!(response.detections.header, coffee(7).header);
        }
    }
}
