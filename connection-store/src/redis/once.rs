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
//! A list whose connections are all this node's own is this node's to remember: whoever else is asked
//! asks it.
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
    wire::{self, Body, Question},
};
use crate::{
    Audience, CallName, ConnectionId, Invocations, LocalConnection, Message, Reply, Scope,
    SendReport, Unavailable, once::once, remembered_report::RememberedReport,
};

/// How long a report is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Between two looks for a report that another node is making.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn sends() -> Invocations<RememberedReport> {
    Invocations::new(Invocations::<RememberedReport>::DEFAULT_CAPACITY)
}

pub(super) fn send<C: LocalConnection>(
    core: &Arc<Core<C>>,
    scope: &Scope,
    audience: Audience,
    message: Message,
    except: Vec<ConnectionId>,
    call: &CallName,
) -> Reply<Result<SendReport, Unavailable>> {
    if core.owns_all(&audience) {
        return core.send(scope, audience, message, except, Some(call));
    }
    let (of, name) = (scope.clone(), call.clone());
    let (named, target) = (audience.clone(), (audience.clone(), except.clone()));
    let everywhere = Arc::clone(core);
    let sent = once(&core.sends, scope, target, call, move || {
        let core = Arc::clone(&everywhere);
        let (scope, audience) = (of.clone(), audience.clone());
        let (message, except) = (message.clone(), except.clone());
        let (name, key) = (name.clone(), key(&core.bus, &scope, &audience, &except, &name));
        Reply::Later(Box::pin(async move {
            let key = key.ok_or(Unavailable)?;
            if let Some(kept) = begin(&core.bus, &key, &audience).await? {
                return Ok(kept);
            }
            let sent = core.send(&scope, audience.clone(), message, except, Some(&name)).await;
            let kept = sent.map(|report| RememberedReport::of(&report, &audience));
            end(&core.bus, &key, kept.as_ref().ok()).await;
            kept
        }))
    });
    sent.map(move |sent| sent.map(|kept| kept.report(&named)))
}

/// What a call is about, as a key: whatever changes what it does, but for the message, which a
/// repetition has in common with the first. And in which form its answer is kept there: of nodes that
/// know different ones, none waits for an answer that it cannot read.
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
    let digest = Sha256::new().chain_update([RememberedReport::FORM]).chain_update(target);
    let digest = digest.chain_update(call.as_bytes()).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(bus.keys.of(&format!("call:{digest}")))
}

/// Marks a call as under way; or gives what it was answered, when that is known.
async fn begin(
    bus: &Bus,
    key: &str,
    audience: &Audience,
) -> Result<Option<RememberedReport>, Unavailable> {
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
            && let Some(kept) = RememberedReport::from_bytes(&bytes, audience)
        {
            return Ok(Some(kept));
        }
        if Instant::now() >= deadline {
            return Err(Unavailable);
        }
        time::sleep(PAUSE).await;
    }
}

/// Notes what a call was answered, or that it was not made.
async fn end(bus: &Bus, key: &str, kept: Option<&RememberedReport>) {
    let note = match kept {
        Some(kept) => {
            let mut set = redis::cmd("SET");
            set.arg(key).arg(kept.to_bytes());
            set.arg("PX").arg(REMEMBERED.as_millis().to_string());
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
