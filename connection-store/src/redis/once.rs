//! Sends to an audience that are made once on all nodes together.
//!
//! In:  a send, by the caller's name for it.
//! Out: its report, or that of the first of its name.
//!
//! ```text
//! once on this node ──► SET call:DIGEST "" NX ─ new ──► send ──► SET call:DIGEST report, 60 s
//!                                             └ known ─► its report, when there is one
//! ```
//!
//! A send that failed for want of one node has reached the others: each of them remembers the call by
//! its name too, and answers a repetition as before.
//!
//! Holds always: a mark without a report ends by itself soon after its send could at the latest, so
//! a node that died in the middle does not block the name for long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Cmd, Value};
use sha2::{Digest as _, Sha256};
use tokio::time;

use super::{
    core::{Bus, Core},
    wire::{self, Answer, Body, Question},
};
use crate::{
    Audience, CallName, ConnectionId, Invocations, LocalConnection, Message, Reply, Scope,
    SendReport, Unavailable, once::once,
};

/// How long a report is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Between two looks for a report that another node is making.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn sends() -> Invocations<SendReport> {
    Invocations::new(Invocations::<SendReport>::DEFAULT_CAPACITY)
}

pub(super) fn send<C: LocalConnection>(
    core: &Arc<Core<C>>,
    scope: &Scope,
    audience: Audience,
    message: Message,
    except: Vec<ConnectionId>,
    call: &CallName,
) -> Reply<Result<SendReport, Unavailable>> {
    let (of, name) = (scope.clone(), call.clone());
    let target = (audience.clone(), except.clone());
    let everywhere = Arc::clone(core);
    once(&core.sends, scope, target, call, move || {
        let core = Arc::clone(&everywhere);
        let (scope, audience) = (of.clone(), audience.clone());
        let (message, except) = (message.clone(), except.clone());
        let (name, key) = (name.clone(), key(&core.bus, &scope, &audience, &except, &name));
        Reply::Later(Box::pin(async move {
            let key = key.ok_or(Unavailable)?;
            match begin(&core.bus, &key).await? {
                Some(report) => Ok(report),
                None => {
                    let sent = core.send(&scope, audience, message, except, Some(&name)).await;
                    end(&core.bus, &key, sent.as_ref().ok()).await;
                    sent
                }
            }
        }))
    })
}

/// What a call is about, as a key: whatever changes what it does, but for the message, which a
/// repetition has in common with the first.
fn key(
    bus: &Bus,
    scope: &Scope,
    audience: &Audience,
    except: &[ConnectionId],
    call: &CallName,
) -> Option<String> {
    let target = Question::Send {
        scope: scope.clone(),
        audience: audience.clone(),
        message: Message { kind: crate::MessageKind::Text, payload: bytes::Bytes::new() },
        except: except.to_vec(),
        call: None,
    };
    // It says how long it is, so the name cannot be taken for a part of it.
    let target = wire::item(0, &Body::Question(target))?;
    let digest = Sha256::new().chain_update(target).chain_update(call.as_bytes()).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(bus.keys.of(&format!("call:{digest}")))
}

/// Marks a call as under way; or gives what it was answered, when that is known.
async fn begin(bus: &Bus, key: &str) -> Result<Option<SendReport>, Unavailable> {
    let patience = bus.options.patience();
    let deadline = Instant::now() + patience;
    loop {
        let mut mark = redis::cmd("SET");
        mark.arg(key).arg("").arg("NX").arg("PX").arg((2 * patience).as_millis().to_string());
        if ask(bus, &mark).await? == Value::Okay {
            return Ok(None);
        }
        let mut get = redis::cmd("GET");
        if let Value::BulkString(bytes) = ask(bus, get.arg(key)).await?
            && let Some(report) = read(bytes)
        {
            return Ok(Some(report));
        }
        if Instant::now() >= deadline {
            return Err(Unavailable);
        }
        time::sleep(PAUSE).await;
    }
}

/// Notes what a call was answered, or that it was not made.
async fn end(bus: &Bus, key: &str, report: Option<&SendReport>) {
    let note = match report.and_then(write) {
        Some(report) => {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(report).arg("PX").arg(REMEMBERED.as_millis().to_string());
            set
        }
        None => {
            let mut delete = redis::cmd("DEL");
            delete.arg(key);
            delete
        }
    };
    // Where it fails, the mark ends by itself.
    let _ = ask(bus, &note).await;
}

async fn ask(bus: &Bus, command: &Cmd) -> Result<Value, Unavailable> {
    let link = bus.standing.link().ok_or(Unavailable)?;
    link.query(command).await.map_err(|_| Unavailable)
}

fn write(report: &SendReport) -> Option<Vec<u8>> {
    let SendReport { recipients, nodes, gone } = report.clone();
    // The item's number is free for the nodes.
    wire::item(nodes.into(), &Body::Answer(Answer::Report { recipients, gone }))
}

fn read(bytes: Vec<u8>) -> Option<SendReport> {
    match wire::one_item(&bytes.into())? {
        (nodes, Body::Answer(Answer::Report { recipients, gone })) => {
            Some(SendReport { recipients, nodes: nodes.try_into().ok()?, gone })
        }
        _ => None,
    }
}
