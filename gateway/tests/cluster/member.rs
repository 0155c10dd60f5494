//! A client of a node that reads for as long as it is there.
//!
//! In:  the node, a query that the backend understands (see [`Backend`](crate::Backend)).
//! Out: its connection's id, every text that came, how and when it ended.
//!
//! Holds always: texts stand in the order in which they came; after [`Member::settle`] everything is
//! there that had been sent to it before.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::{StreamExt as _, stream};
use tidegate_testkit::{Client, DEADLINE, NotOpened, TestGateway, within};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::Message;

/// One client. Dropping it ends its connection without a close frame.
pub(crate) struct Member {
    pub(crate) id: String,
    seen: Arc<Mutex<Seen>>,
    changes: watch::Receiver<()>,
    orders: mpsc::UnboundedSender<Message>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    end: Option<(u16, Instant)>,
}

/// A client of stage `prod`.
pub(crate) async fn member(node: &TestGateway, query: &str) -> Member {
    let opened = try_member(node.ws_url(&format!("prod?{query}"))).await;
    opened.unwrap_or_else(|why| panic!("no connection: {why:?}"))
}

/// Several.
pub(crate) async fn members(node: &TestGateway, count: usize, query: &str) -> Vec<Member> {
    let connecting = stream::iter(0..count).map(|_| member(node, query));
    connecting.buffer_unordered(32).collect().await
}

/// A client at a url, which may not be let in.
pub(crate) async fn try_member(url: String) -> Result<Member, NotOpened> {
    let mut client = Client::try_connect(&url).await?;
    let greeting = within(DEADLINE, "the greeting", client.receive()).await;
    let Some(Message::Text(id)) = greeting else { return Err(NotOpened::Cut) };
    let seen = Arc::<Mutex<Seen>>::default();
    let (changed, changes) = watch::channel(());
    let (orders, ordered) = mpsc::unbounded_channel();
    let task = tokio::spawn(read(client, Arc::clone(&seen), changed, ordered));
    Ok(Member { id: id.as_str().to_owned(), seen, changes, orders, task })
}

async fn read(
    mut client: Client,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<()>,
    mut ordered: mpsc::UnboundedReceiver<Message>,
) {
    let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut end = None;
    loop {
        let message = tokio::select! {
            message = client.receive() => message,
            Some(order) = ordered.recv() => {
                client.send(order).await;
                continue;
            }
        };
        match message {
            Some(Message::Text(text)) => lock().texts.push(text.as_str().to_owned()),
            Some(Message::Close(frame)) => end = Some(frame.map_or(1005, |f| f.code.into())),
            Some(other) => panic!("a text message was due, not {other:?}"),
            // It is told only now: the library has answered the close frame.
            None => {
                lock().end = Some((end.unwrap_or(1006), Instant::now()));
                return changed.send_modify(|()| {});
            }
        }
        changed.send_modify(|()| {});
    }
}

impl Member {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every text so far but the greeting.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.seen().texts.clone()
    }

    /// How it ended, if it has: the close frame's code, 1006 without one.
    pub(crate) fn end(&self) -> Option<(u16, Instant)> {
        self.seen().end
    }

    /// Waits until `count` texts have come; returns all.
    pub(crate) async fn wait_for_texts(&self, count: usize) -> Vec<String> {
        self.wait_for(&format!("{count} texts"), |seen| seen.texts.len() >= count).await;
        self.texts()
    }

    /// Waits for its end; returns as [`Self::end`].
    pub(crate) async fn wait_for_end(&self) -> (u16, Instant) {
        self.wait_for("the end", |seen| seen.end.is_some()).await;
        self.end().expect("it was waited for")
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let mut changes = self.changes.clone();
        let waiting = async {
            while !is_so(&self.seen()) {
                changes.changed().await.unwrap_or_else(|_| panic!("it ended before: {what}"));
            }
        };
        within(DEADLINE, what, waiting).await;
    }

    /// Says something, which the node's echo route sends back behind everything that was sent
    /// before, and waits for it. The echo itself is no text of its own.
    pub(crate) async fn settle(&self) {
        let marker = format!("settle {}", self.texts().len());
        self.orders.send(Message::text(marker.clone())).expect("it has not ended");
        self.wait_for("the echo", |seen| seen.texts.contains(&marker)).await;
        self.seen().texts.retain(|text| *text != marker);
    }

    /// Closes with 1000 and waits for the end.
    pub(crate) async fn leave(&self) {
        self.orders.send(Message::Close(None)).expect("it has not ended");
        self.wait_for_end().await;
    }

    /// Ends the connection without a close frame.
    pub(crate) fn cut(self) -> String {
        self.task.abort();
        self.id.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until all have everything that was sent to them before.
pub(crate) async fn settle_all<'a>(members: impl IntoIterator<Item = &'a Member>) {
    futures_util::future::join_all(members.into_iter().map(Member::settle)).await;
}
