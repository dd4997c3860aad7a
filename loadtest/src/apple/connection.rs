//! One connection of a client to Apple: streams taken, limited, refused and answered, until one side says goodbye.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future::BoxFuture};
use h2::server::{Connection, SendResponse};
use h2::{Reason as H2Reason, RecvStream};
use http::{Response, StatusCode, request::Parts};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Provider, Push};
use crate::phones::Phone;
use crate::push_faults::Fault;
use crate::socket::{Cut, Socket};
use crate::witness::{Misuse, Witness};

use super::Service;
use super::payload;
use super::refusal::{Reason, Refusal};
use super::request::{self, Checked, Head};
use super::token::ConnectionToken;
use super::wire::{Wire, WireControl};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// After a goodbye the client closes; one that does not is closed on.
const LINGER: Duration = Duration::from_secs(2);
/// A client's library may have opened a stream before it read the limit and sends it after the acknowledgement.
const CROSSING: Duration = Duration::from_millis(250);
/// "Only one stream until a first request with a valid token has been answered."
const STREAMS_BEFORE_FIRST_TOKEN: u32 = 1;

type Running = FuturesUnordered<BoxFuture<'static, Done>>;
type Http2 = Connection<Wire<TlsStream<Socket>>, Bytes>;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Answered { token_good: bool },
    Cut,
}

struct Client {
    service: Arc<Service>,
    /// The client's own port.
    port: u16,
    wire: WireControl,
    cut: Cut,
    token: ConnectionToken,
    limit: u32,
    last_stream: u32,
    leaving: bool,
}

/// Serves one connection to its end.
pub(super) async fn serve(service: Arc<Service>, acceptor: TlsAcceptor, (tcp, port): (TcpStream, u16), cancel: CancellationToken) {
    let (socket, cut) = Socket::new(tcp);
    let Ok(Ok(tls)) = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(socket)).await else {
        return;
    };
    let (wire, control) = Wire::new(tls, STREAMS_BEFORE_FIRST_TOKEN);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_connection_window_size(1 << 20)
        .max_header_list_size(16 * 1024)
        .max_concurrent_reset_streams(1_024)
        .max_pending_accept_reset_streams(1_024);
    let handshake = builder.handshake::<_, Bytes>(wire);
    let Ok(Ok(mut http)) = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await else {
        return;
    };
    let mut client = Client {
        service,
        port,
        wire: control,
        cut,
        token: ConnectionToken::default(),
        limit: STREAMS_BEFORE_FIRST_TOKEN,
        last_stream: 0,
        leaving: false,
    };
    client.run(&mut http, &cancel).await;
}

impl Client {
    async fn run(&mut self, http: &mut Http2, cancel: &CancellationToken) {
        let mut running = Running::new();
        let idle = self.service.options.idle;
        let silence = tokio::time::sleep(idle);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                biased;
                accepted = http.accept() => match accepted {
                    Some(Ok((request, respond))) => self.take(request, respond, &mut running),
                    Some(Err(_)) | None => return,
                },
                Some(done) = running.next(), if !running.is_empty() => {
                    self.settle(done);
                    // All that is ready leaves with one flush.
                    while let Some(Some(done)) = running.next().now_or_never() {
                        self.settle(done);
                    }
                    if !self.leaving {
                        silence.as_mut().reset(tokio::time::Instant::now() + idle);
                    }
                }
                () = cancel.cancelled(), if !self.leaving => {
                    self.leave(self.last_stream, Reason::Shutdown);
                    silence.as_mut().reset(tokio::time::Instant::now() + LINGER);
                }
                () = &mut silence => {
                    if self.leaving && running.is_empty() {
                        return;
                    }
                    if !self.leaving && running.is_empty() {
                        self.leave(self.last_stream, Reason::IdleTimeout);
                    }
                    silence.as_mut().reset(tokio::time::Instant::now() + LINGER);
                }
            }
            if self.cut.is_cut() {
                return;
            }
            if self.leaving && silence.deadline() > tokio::time::Instant::now() + LINGER {
                silence.as_mut().reset(tokio::time::Instant::now() + LINGER);
            }
        }
    }

    fn settle(&mut self, done: Done) {
        match done {
            Done::Cut => self.cut.now(),
            Done::Answered { token_good: true } if self.limit == STREAMS_BEFORE_FIRST_TOKEN => {
                self.limit = self.service.options.max_streams;
                self.wire.limit_streams(self.limit);
            }
            Done::Answered { .. } => {}
        }
    }

    fn leave(&mut self, last_stream: u32, reason: Reason) {
        if !self.leaving {
            self.leaving = true;
            self.wire.go_away(last_stream, reason.as_str());
        }
    }

    fn take(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>, running: &mut Running) {
        let number = respond.stream_id().as_u32();
        if self.leaving {
            respond.send_reset(H2Reason::REFUSED_STREAM);
            return;
        }
        if running.len() >= self.limit as usize {
            self.too_many_streams(running.len());
            respond.send_reset(H2Reason::REFUSED_STREAM);
            return;
        }
        let fault = self.service.options.faults.next();
        match fault {
            Fault::CutBefore => {
                self.service.cut_off("cut before it was taken");
                self.cut.now();
                return;
            }
            Fault::GoAway => {
                self.service.cut_off("goodbye");
                self.leave(self.last_stream, Reason::Shutdown);
                respond.send_reset(H2Reason::REFUSED_STREAM);
                return;
            }
            Fault::ExpireTokens => self.service.tokens.expire_all(),
            _ => {}
        }
        self.last_stream = number;
        let (parts, body) = request.into_parts();
        let exchange = self.begin(&parts, fault);
        running.push(exchange.finish(body, respond).boxed());
    }

    /// More streams than allowed are refused; whoever had acknowledged the limit a while ago has broken a rule.
    fn too_many_streams(&self, open: usize) {
        let known = |(limit, at): (u32, Instant)| limit == self.limit && at.elapsed() > CROSSING;
        if self.wire.acknowledged().is_some_and(known) {
            self.service.misuse("too-many-streams", format!("{} where {} are allowed", open + 1, self.limit));
        }
    }

    fn begin(&mut self, parts: &Parts, fault: Fault) -> Exchange {
        let arrived_ms = jiff::Timestamp::now().as_millisecond();
        let checked = request::check(parts, &self.service.tokens, &mut self.token, &self.service.options.topics, arrived_ms / 1_000);
        Exchange { service: Arc::clone(&self.service), port: self.port, checked, fault, arrived: Instant::now(), arrived_ms }
    }
}

struct Exchange {
    service: Arc<Service>,
    port: u16,
    checked: Checked,
    fault: Fault,
    arrived: Instant,
    arrived_ms: i64,
}

impl Exchange {
    async fn finish(self, body: RecvStream, mut respond: SendResponse<Bytes>) -> Done {
        let read = tokio::time::timeout(BODY_DEADLINE, read_body(body)).await;
        let Ok(Ok(body)) = read else {
            respond.send_reset(H2Reason::CANCEL);
            return Done::Answered { token_good: false };
        };
        if let Fault::Slow(time) = self.fault {
            tokio::time::sleep(time).await;
        }
        let refusal = self.judge(&body).err();
        if self.fault == Fault::CutAfter {
            self.service.cut_off("cut before the answer");
            return Done::Cut;
        }
        if let Some(refusal) = &refusal {
            self.service.refused(refusal);
        }
        // The client may be gone; then there is nobody to answer.
        let _ = answer(&mut respond, &self.checked.id, refusal.as_ref());
        Done::Answered { token_good: self.checked.token_good }
    }

    fn judge(&self, body: &[u8]) -> Result<(), Refusal> {
        let head = match &self.checked.head {
            Ok(head) => head,
            Err(refusal) => return Err(refusal.clone()),
        };
        self.injected()?;
        let service = &self.service;
        let said = payload::read(body)?;
        if said.background && !head.background {
            service.misuse("push-type-does-not-fit", "nothing to show".to_owned());
        }
        if said.background && head.priority == 10 {
            return Err(Refusal::misuse(Reason::BadPriority, "bad-priority", "nothing to show at priority 10"));
        }
        if let Some(rule) = head.careless {
            service.misuse(rule, String::new());
        }
        self.at_home(head)?;
        service.options.ledger.push_accepted(&Push {
            provider: Provider::Apns,
            token: &head.token,
            id: &head.id,
            kind: said.kind,
            count: said.count,
            hashes: &said.hashes,
            details: said.details,
            badge: said.badge,
            expiry: head.expiry,
            arrived: self.arrived,
            arrived_ms: self.arrived_ms,
            payload: body,
        });
        if service.options.note_callers {
            service.callers.note(self.port, self.arrived);
        }
        Ok(())
    }

    /// The faults that are answers.
    fn injected(&self) -> Result<(), Refusal> {
        Err(Refusal::plain(match self.fault {
            Fault::TooMany => Reason::TooManyRequests,
            Fault::Internal => Reason::InternalServerError,
            Fault::Forbidden => Reason::Forbidden,
            Fault::Unavailable { retry_after_s } => {
                let reason = match retry_after_s % 2 {
                    0 => Reason::Shutdown,
                    _ => Reason::ServiceUnavailable,
                };
                let retry_after_s = (retry_after_s > 0).then_some(retry_after_s);
                return Err(Refusal { retry_after_s, ..Refusal::plain(reason) });
            }
            _ => return Ok(()),
        }))
    }

    /// Whether the phone is there, with this app.
    fn at_home(&self, head: &Head) -> Result<(), Refusal> {
        let options = &self.service.options;
        if self.fault == Fault::Gone {
            options.phones.remove(&head.token, self.arrived_ms);
            options.ledger.forgotten(&head.token);
        }
        match options.phones.find(&head.token, &head.topic) {
            Some(Phone::Installed { app }) if *app == *head.topic => Ok(()),
            Some(Phone::Installed { .. }) => Err(Refusal::plain(Reason::DeviceTokenNotForTopic)),
            Some(Phone::Gone { since_ms }) => Err(Refusal { timestamp_ms: Some(since_ms), ..Refusal::plain(Reason::Unregistered) }),
            Some(Phone::ThirdParty) | None => Err(Refusal::plain(Reason::BadDeviceToken)),
        }
    }
}

impl Service {
    fn misuse(&self, rule: &'static str, detail: String) {
        self.options.ledger.misuse(Misuse { server: "apns", rule, detail });
    }

    fn refused(&self, refusal: &Refusal) {
        let status = refusal.reason.status().as_u16();
        let reason = refusal.reason.as_str();
        self.options.ledger.push_refused(Provider::Apns, status, reason);
        if let Some((rule, detail)) = &refusal.misuse {
            self.misuse(rule, detail.clone());
        }
    }

    fn cut_off(&self, how: &str) {
        self.options.ledger.push_refused(Provider::Apns, 0, how);
    }
}

/// Reads a body to its end, but keeps no more of it than shows that it is too long.
async fn read_body(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        let room = (payload::MAX_BYTES + 1).saturating_sub(whole.len());
        whole.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    Ok(whole.freeze())
}

fn answer(respond: &mut SendResponse<Bytes>, id: &str, refusal: Option<&Refusal>) -> Result<(), h2::Error> {
    let builder = Response::builder().header("apns-id", id);
    let Some(refusal) = refusal else {
        let response = builder.status(StatusCode::OK).body(());
        respond.send_response(response.expect("a UUID is a fair header value"), true)?;
        return Ok(());
    };
    let mut builder = builder.status(refusal.reason.status()).header("content-type", "application/json");
    if let Some(seconds) = refusal.retry_after_s {
        builder = builder.header("retry-after", seconds);
    }
    let response = builder.body(()).expect("a UUID is a fair header value");
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from(refusal.body()), true)
}
