//! A service that finds phrases in pictures: the body of a request is a picture, the answer is JSON.
//!
//!     cargo run --release --example server -- --port 8080
//!     curl --data-binary @photo.jpg "http://127.0.0.1:8080/ground?prompt=person+.+dog"

mod common;

use std::{
    fmt, fs,
    io::Cursor,
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use common::Result;
use glip::{Bundle, Control, Detections, Detector, ErrorKind};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, ImageResult, Limits};
use lexopt::{Arg, Parser, ValueExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::Semaphore,
    task::{JoinError, JoinSet, spawn_blocking},
    time::timeout,
};

const USAGE: &str = "\
Serves POST /ground?prompt=person+.+dog, with a picture as the body, and GET /health.

server [OPTIONS]

  --model DIR    the model folder; without it, the small model in the box
  --port N       the port on this machine; 0 takes any that is free [0]
  --callers N    calls at the same time, each with a copy of the weights [one a core]
  --smoke        asks itself a few times, checks the answers, and ends
";

/// How long a request may take, waiting for its turn included.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest body: a photograph of a good camera.
const MAX_BYTES: usize = 32 << 20;

fn main() -> ExitCode {
    common::run(USAGE, Arguments::parse, run)
}

fn run(arguments: Arguments) -> Result<()> {
    let detector = Detector::builder()
        .bundle(Bundle::from_dir_or_nano(arguments.model.as_deref())?)
        .for_callers(arguments.callers)
        .build()?;
    let turns = Arc::new(Semaphore::new(arguments.callers));
    let service = Service { detector, turns };
    Runtime::new()?.block_on(serve(service, arguments.port, arguments.smoke))
}

async fn serve(service: Service, port: u16, is_smoke: bool) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    let routes = Router::new()
        .route("/ground", post(ground))
        .route("/health", get(health))
        .layer(DefaultBodyLimit::max(MAX_BYTES))
        .with_state(service);
    let serving = axum::serve(listener, routes).into_future();
    if !is_smoke {
        return Ok(serving.await?);
    }
    tokio::select! {
        served = serving => Ok(served?),
        tested = smoke(address) => tested,
    }
}

/// What requests share. Clones are the same service.
#[derive(Clone)]
struct Service {
    detector: Detector,
    /// As many as there are sessions: more calls at once would only hold more pictures in memory.
    turns: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct Question {
    prompt: String,
}

async fn ground(
    State(service): State<Service>,
    Query(question): Query<Question>,
    body: Bytes,
) -> std::result::Result<Json<Detections>, Refusal> {
    let control = Control::new().with_timeout(DEADLINE);
    let _abandoned = Abandoned(control.clone());
    let Ok(Ok(turn)) = timeout(DEADLINE, service.turns.acquire_owned()).await else {
        let message = "too many requests are waiting: try again later".to_owned();
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let call = move || -> std::result::Result<Detections, Refusal> {
        let _turn = turn; // until the call is over, whether or not anyone still waits for it
        let picture = decode(&body)?;
        let detector = service.detector.controlled(&control);
        Ok(detector.ground(&picture, question.prompt)?)
    };
    // What takes long does not belong on the threads that all requests share.
    spawn_blocking(call).await?.map(Json)
}

async fn health(State(Service { detector, .. }): State<Service>) -> Json<Value> {
    let device = detector.device().to_string();
    Json(json!({ "model": detector.manifest().name(), "device": device }))
}

/// Stops a call that nobody waits for any more: a request's future is dropped if its client goes away.
struct Abandoned(Control);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The picture, upright, if it is not too large to decode.
fn decode(bytes: &[u8]) -> ImageResult<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let decoder = reader.into_decoder()?;
    Limits::default().reserve(decoder.total_bytes())?;
    common::upright(decoder)
}

/// What a caller gets instead of detections: a status and why.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        (status, Json(json!({ "error": message }))).into_response()
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        let message = format!("the body is no picture that can be read: {error}");
        Self(StatusCode::BAD_REQUEST, message)
    }
}

impl From<glip::Error> for Refusal {
    fn from(error: glip::Error) -> Self {
        match error.kind() {
            kind if kind.is_callers_fault() => {
                Self(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            ErrorKind::Stopped | ErrorKind::Deadline => {
                Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            _ => Self::own_fault(&error),
        }
    }
}

/// A call that panicked.
impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        Self::own_fault(&error)
    }
}

impl Refusal {
    /// What is wrong here is for the log, and not for the caller.
    fn own_fault(error: &dyn fmt::Debug) -> Self {
        eprintln!("error: {error:?}");
        let message = "the service failed, and its log says why".to_owned();
        Self(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// The command line.
struct Arguments {
    model: Option<PathBuf>,
    port: u16,
    callers: usize,
    smoke: bool,
}

impl Arguments {
    /// `None` if help was asked for.
    fn parse(mut parser: Parser) -> Result<Option<Self>> {
        let mut arguments = Self {
            model: None,
            port: 0,
            callers: thread::available_parallelism().map_or(1, NonZero::get),
            smoke: false,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("model") => arguments.model = Some(PathBuf::from(parser.value()?)),
                Arg::Long("port") => arguments.port = parser.value()?.parse()?,
                Arg::Long("callers") => arguments.callers = parser.value()?.parse()?,
                Arg::Long("smoke") => arguments.smoke = true,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(arguments))
    }
}

/// Requests of the smoke test, and the tasks that make them side by side.
const REQUESTS: usize = 16;
const TASKS: usize = 4;

/// Asks the service, as clients do, and checks what it answers, to bad requests too.
async fn smoke(address: SocketAddr) -> Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/images/coffee.jpg");
    let picture = Arc::new(fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?);
    ask(address, "GET /health", b"", 200).await?;
    ask(address, "POST /ground?prompt=cup", b"no picture", 400).await?;
    ask(address, "POST /ground?prompt=", &picture, 422).await?;

    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(ask_for_cups(address, Arc::clone(&picture)));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = REQUESTS as f64 / start.elapsed().as_secs_f64();
    println!("{REQUESTS} requests of {TASKS} tasks: {rate:.1} requests per second");
    Ok(())
}

/// What one of the tasks does.
async fn ask_for_cups(address: SocketAddr, picture: Arc<Vec<u8>>) -> Result<()> {
    for _ in 0..REQUESTS / TASKS {
        let answer = ask(address, "POST /ground?prompt=cup+.+bicycle", &picture, 200).await?;
        let found: Detections = serde_json::from_slice(&answer)?;
        if found.first().is_none_or(|best| best.phrase != "cup") {
            return Err(format!("the picture shows a cup, the answer is {found:?}").into());
        }
    }
    Ok(())
}

/// The body of the answer to a request of this method and path, which must have the expected status.
async fn ask(address: SocketAddr, request: &str, body: &[u8], expected: u16) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;

    let text = String::from_utf8_lossy(&answer);
    let (head, content) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{request}: this is no HTTP: {text:?}"))?;
    match head.split(' ').nth(1) {
        Some(status) if status == expected.to_string() => Ok(content.as_bytes().to_vec()),
        _ => Err(format!("{request}: expected {expected}, the answer is {text:?}").into()),
    }
}
