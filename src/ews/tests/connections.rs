//! Which requests share a connection, and which never do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider_actors::ports::mail_source::MailSource;
use postrider_loadtest::exchange::{ExchangeFaults, ExchangeOptions, OperationName, RequestFault};
use postrider_loadtest::tls::{ALPN_HTTP_1_1, Authority};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::harness::{Company, Different, mailbox};

/// Counts the TLS handshakes of a server.
#[derive(Debug)]
struct Counting {
    certificates: Arc<dyn ResolvesServerCert>,
    count: Arc<AtomicUsize>,
}

impl ResolvesServerCert for Counting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.certificates.resolve(hello)
    }
}

/// A company with one mailbox, the faults that its server meets, and how many connections were opened to it.
async fn counted() -> (Company, Arc<ExchangeFaults>, Arc<AtomicUsize>) {
    let (faults, count) = (Arc::new(ExchangeFaults::none()), Arc::new(AtomicUsize::new(0)));
    let (given, counter) = (Arc::clone(&faults), Arc::clone(&count));
    let options = move |options: &mut ExchangeOptions| options.faults = Arc::clone(&given);
    let tls = move |authority: &Authority| {
        let mut config = authority.server_config(&["localhost"], &[ALPN_HTTP_1_1]);
        config.cert_resolver = Arc::new(Counting { certificates: Arc::clone(&config.cert_resolver), count: Arc::clone(&counter) });
        config
    };
    let company = Company::different(Different { mailboxes: 1, options: &options, tls: &tls, ..Different::default() }).await;
    (company, faults, count)
}

#[tokio::test]
async fn calls_share_a_connection_and_one_that_answered_another_question_is_left() {
    let (company, faults, count) = counted().await;
    assert_eq!(company.source.unread(&mailbox(1)).await, Ok(0));
    let first = count.load(Ordering::SeqCst);
    assert_eq!(company.source.unread(&mailbox(1)).await, Ok(0));
    assert_eq!(count.load(Ordering::SeqCst), first);
    faults.script(Some(OperationName::GetFolder), None, 1, RequestFault::WrongAnswer);
    assert_eq!(company.source.unread(&mailbox(1)).await, Ok(0));
    assert_eq!(count.load(Ordering::SeqCst), first + 1);
}

#[tokio::test]
async fn the_connection_of_a_stream_that_was_refused_is_not_used_again() {
    let (company, faults, count) = counted().await;
    assert_eq!(company.source.unread(&mailbox(1)).await, Ok(0));
    let calls = count.load(Ordering::SeqCst);
    let refused = RequestFault::Fault { code: "ErrorInternalServerTransientError", text: "", is_ok: false };
    faults.script(Some(OperationName::GetStreamingEvents), None, 1, refused);
    company.watch(1).await;
    assert_eq!(count.load(Ordering::SeqCst), calls + 2);
    company.no_misuse();
}
