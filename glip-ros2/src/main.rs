//! The command `glip-ros2`: a node of ROS 2 that finds in a camera's images what words describe.
//!
//! An image comes as a message (`messages`), is made a frame (`picture`) and shown to the live detector (`looker`); what is found is
//! made messages again (`outputs`). Beside that, `parameters` change what is looked for, `service` answers single requests, and
//! `diagnostics` say how it does. `node` is the plan of it, `ros` what it stands on.

mod arguments;
mod diagnostics;
mod error;
mod faults;
mod loader;
mod looker;
mod messages;
mod node;
mod outputs;
mod parameters;
mod picture;
mod ros;
mod service;
mod threads;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use env_logger::Env;
use error::{Error, Result};
use futures::channel::oneshot;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    env_logger::Builder::from_env(Env::default().default_filter_or(LOGGED)).init();
    let ran = stop_signal().and_then(|stop| node::run(&arguments, stop));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error::in_one_line(&error));
            ExitCode::from(3)
        }
    }
}

/// RustDDS warns of peers that come and go, and at the end of what is gone already. Of the distribution `ros` warns itself: ros2-client does
/// for every other than Jazzy.
const LOGGED: &str = "warn,glip_ros2=info,rustdds=error,rustdds::dds::pubsub=off,ros2_client=error,\
    ros2_client::distributions=off";

/// What is sent something when the process is to end.
fn stop_signal() -> Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let set = ctrlc::set_handler(move || match sender.take() {
        Some(sender) => drop(sender.send(())),
        // Twice is once too much to wait for an orderly end.
        None => std::process::exit(130),
    });
    match set {
        Ok(()) => Ok(receiver),
        Err(source) => Err(Error::Start {
            what: "waiting for signals",
            source: source.into(),
        }),
    }
}
