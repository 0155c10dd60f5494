//! A store of two nodes in one process, right or with one fault.
//!
//! In:  what the suite calls, at either node.
//! Out: what the node that owns the connection answers, later; or what a store with that fault does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use crate::{
    Audience, CallName, ConnectionList, Cursor, Description, Invocations, Lease, MemoryStore,
    NodeId, Page, PageLimit, Receipt, SendReport, Unavailable, once::once,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    GivesIdsTwice,
    CountsIds,
    NamesAnotherNode,
    KeepsAfterRemove,
    KeepsAfterClose,
    ClosesOnRemove,
    ClosesTwice,
    ForgetsReason,
    SignsForTheOwner,
    AnswersBeforeTheQueue,
    DropsText,
    TakesFullForGone,
    TakesClosedForFull,
    RemovesWhatIsFull,
    Overtakes,
    IgnoresTheApi,
    IgnoresTheStage,
    TellsFullToStrangers,
    RemovesForEveryone,
    WaitsAtHome,
    EncodesForNobody,
    EncodesTwice,
    ListsForeign,
    JoinsOneNode,
    LeavesNothing,
    JoinsStrangers,
    JoinsLater,
    AnswersBeforeTheJoin,
    CountsTheDead,
    CountsOneNode,
    SendsToOneNode,
    SendsTwice,
    IgnoresExcept,
    CountsEverybody,
    CountsNodesAsked,
    CrossesStages,
    TakesUsersForStages,
    LosesTheGone,
    EncodesForEach,
    OvertakesInGroups,
    ClosesOneNode,
    ClosesWithoutReason,
    SkipsAtPages,
    RepeatsAtPages,
    IgnoresTheLimit,
    ForgetsTheCursor,
    PostsAgain,
    SendsAgain,
}

type Node = MemoryStore<RecordingConnection>;

/// One of two nodes that reach each other through memory: replies about the other's connections
/// come later, as over a bus.
#[derive(Clone)]
pub(super) struct Clustered {
    nodes: Arc<[Node; 2]>,
    own: usize,
    fault: Fault,
    /// What a fault keeps back: removed connections, ids, a message that is overtaken.
    kept: Arc<Mutex<Kept>>,
    sends: [Invocations<SendReport>; 2],
}

#[derive(Default)]
struct Kept {
    connections: Vec<Arc<RecordingConnection>>,
    id: Option<ConnectionId>,
    serial: u64,
    late: Option<(ConnectionId, Message)>,
    /// Joins that were answered and not made.
    joining: Vec<(Scope, GroupName, ConnectionId)>,
    /// Connections that were removed.
    ended: u64,
}

impl Clustered {
    pub(super) fn pair(fault: Fault) -> (Self, Self) {
        let nodes = Arc::new([1, 2].map(|n| Node::with_node(NodeId::new(n).unwrap())));
        let kept = Arc::<Mutex<Kept>>::default();
        let memory = || Invocations::new(Invocations::<SendReport>::DEFAULT_CAPACITY);
        let first = Self { nodes, own: 0, fault, kept, sends: [memory(), memory()] };
        (first.clone(), Self { own: 1, ..first })
    }

    fn own(&self) -> &Node {
        &self.nodes[self.own]
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the joins that were answered before: they are late for sends, and not for whoever looks.
    fn join_at_last(&self) {
        let joining = std::mem::take(&mut self.kept().joining);
        for (scope, group, id) in joining {
            let owner = self.nodes.iter().find(|node| node.node() == id.node());
            let owner = owner.expect("it was open there");
            // It may have ended since.
            let _ended = at_once(owner.join(&scope, &group, id));
        }
    }

    fn ask<T: Send + Unpin + 'static>(
        &self,
        id: ConnectionId,
        call: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Reply<T> {
        let nodes = Arc::clone(&self.nodes);
        let Some(owner) = nodes.iter().position(|node| node.node() == id.node()) else {
            return Reply::ready(call(self.own()));
        };
        if owner == self.own && self.fault != Fault::WaitsAtHome {
            return Reply::ready(call(&nodes[owner]));
        }
        Reply::Later(Box::pin(async move {
            yield_now().await;
            let value = call(&nodes[owner]);
            yield_now().await;
            value
        }))
    }

    /// Asks the nodes one after the other: all of them, or only this one.
    fn each<T: Send + Unpin + 'static>(
        &self,
        all: bool,
        call: impl Fn(&Node) -> Reply<Result<T, Unavailable>> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Vec<T>> + Send>> {
        let (nodes, own) = (Arc::clone(&self.nodes), self.own);
        Box::pin(async move {
            let mut answers = Vec::new();
            for (index, node) in nodes.iter().enumerate() {
                if all || index == own {
                    yield_now().await;
                    let answer = call(node);
                    answers.push(answer.await.expect("memory is always there"));
                }
            }
            answers
        })
    }

    /// A page of the first node that the cursor has not done with.
    fn page(
        &self,
        limit: PageLimit,
        cursor: Option<Cursor>,
        page: impl Fn(&Node, PageLimit, Option<Cursor>) -> Reply<Result<Page, Unavailable>>
        + Send
        + 'static,
    ) -> Reply<Result<Page, Unavailable>> {
        let (nodes, fault) = (Arc::clone(&self.nodes), self.fault);
        let most = PageLimit::new(PageLimit::MAX).expect("the greatest limit is one");
        let limit = if fault == Fault::IgnoresTheLimit { most } else { limit };
        let cursor = cursor.filter(|_| fault != Fault::ForgetsTheCursor);
        Reply::Later(Box::pin(async move {
            yield_now().await;
            let after = |node: &Node| cursor.is_none_or(|at| at.begins_at(node.node()).is_some());
            let Some(index) = nodes.iter().position(after) else { return Ok(Page::default()) };
            let mut page = at_once(page(&nodes[index], limit, cursor))?;
            if page.next.is_none() {
                page.next = nodes.get(index + 1).map(|node| Cursor::new(node.node(), 0));
            }
            page.next = page.next.map(|next| match fault {
                Fault::SkipsAtPages if next.place() > 0 => {
                    Cursor::new(next.node(), next.place() + 1)
                }
                Fault::RepeatsAtPages => Cursor::new(next.node(), next.place().saturating_sub(1)),
                _ => next,
            });
            Ok(page)
        }))
    }

    /// The scope that a faulty store believes the connection to be of.
    fn believed(&self, scope: &Scope, id: ConnectionId) -> Scope {
        let local = self.nodes.iter().flat_map(ConnectionStore::local);
        let Some(connection) = local.into_iter().find(|open| open.id() == id) else {
            return scope.clone();
        };
        let (mut scope, own) = (scope.clone(), connection.scope());
        match self.fault {
            Fault::IgnoresTheApi => scope.api = Arc::clone(&own.api),
            Fault::IgnoresTheStage => scope.stage = Arc::clone(&own.stage),
            _ => {}
        }
        scope
    }
}

impl ConnectionStore<RecordingConnection> for Clustered {
    fn node(&self) -> NodeId {
        self.own().node()
    }

    fn lease(&self) -> Lease {
        Lease::Unbounded
    }

    fn allocate(&self) -> ConnectionId {
        let mut kept = self.kept();
        kept.serial += 1;
        match self.fault {
            Fault::GivesIdsTwice if kept.serial == 10_000 => {
                kept.id.expect("an id was given before the 10,000th")
            }
            Fault::CountsIds => ConnectionId::new(self.node(), kept.serial.to_be_bytes()),
            Fault::NamesAnotherNode => ConnectionId::new(NodeId::new(3).unwrap(), rand::random()),
            _ => *kept.id.insert(self.own().allocate()),
        }
    }

    fn insert(&self, connection: Arc<RecordingConnection>) {
        self.own().insert(connection);
    }

    fn remove(&self, id: ConnectionId) -> Option<Arc<RecordingConnection>> {
        match self.fault {
            Fault::RemovesForEveryone => self.nodes.iter().find_map(|node| node.remove(id)),
            Fault::KeepsAfterRemove => self.own().local().into_iter().find(|open| open.id() == id),
            Fault::ClosesOnRemove => {
                self.own().remove(id).inspect(|removed| removed.close(&close_request()))
            }
            Fault::CountsTheDead => self.own().remove(id).inspect(|_| self.kept().ended += 1),
            _ => self.own().remove(id),
        }
    }

    fn post(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        let (fault, own, kept) = (self.fault, self.node(), Arc::clone(&self.kept));
        let (asked, scope) = (scope.clone(), self.believed(scope, id));
        self.ask(id, move |owner| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let mut message = message;
            match fault {
                Fault::EncodesForNobody => drop(RecordingConnection::encode(&message)),
                Fault::DropsText => message.kind = MessageKind::Binary,
                Fault::Overtakes if message.payload == "3 7" => {
                    kept.late = Some((id, message));
                    return Ok(Receipt { node: owner.node() });
                }
                _ => {}
            }
            let answer = at_once(owner.post(&scope, id, message.clone()));
            if let Some((id, late)) = kept.late.take_if(|_| message.payload == "3 8") {
                return at_once(owner.post(&scope, id, late));
            }
            let found = owner.local().into_iter().find(|open| open.id() == id);
            match (fault, answer, found) {
                (Fault::SignsForTheOwner, Ok(_), _) => Ok(Receipt { node: own }),
                (Fault::AnswersBeforeTheQueue, Ok(receipt), Some(found)) => {
                    found.take();
                    Ok(receipt)
                }
                (Fault::TakesFullForGone, Err(DeliveryError::Full), _) => Err(DeliveryError::Gone),
                (Fault::TakesClosedForFull, Err(_), Some(_)) if asked == home() => {
                    Err(DeliveryError::Full)
                }
                (Fault::RemovesWhatIsFull, Err(DeliveryError::Full), _) => {
                    owner.remove(id);
                    Err(DeliveryError::Full)
                }
                (Fault::TellsFullToStrangers, Err(_), Some(found)) if found.capacity == 0 => {
                    Err(DeliveryError::Full)
                }
                (Fault::EncodesTwice, answer @ Ok(_), _) => {
                    drop(RecordingConnection::encode(&message));
                    answer
                }
                (_, answer, _) => answer,
            }
        })
    }

    fn post_once(
        &self,
        scope: &Scope,
        id: ConnectionId,
        message: Message,
        call: &CallName,
    ) -> Reply<Result<Receipt, DeliveryError>> {
        if self.fault == Fault::PostsAgain {
            return self.post(scope, id, message);
        }
        let (scope, call) = (scope.clone(), call.clone());
        self.ask(id, move |owner| at_once(owner.post_once(&scope, id, message, &call)))
    }

    fn describe(
        &self,
        scope: &Scope,
        id: ConnectionId,
    ) -> Reply<Result<Description, DeliveryError>> {
        let scope = scope.clone();
        self.ask(id, move |owner| at_once(owner.describe(&scope, id)))
    }

    fn close(
        &self,
        scope: &Scope,
        id: ConnectionId,
        mut request: CloseRequest,
    ) -> Reply<Result<(), DeliveryError>> {
        let (fault, kept, scope) = (self.fault, Arc::clone(&self.kept), scope.clone());
        if fault == Fault::ForgetsReason {
            request.reason.clear();
        }
        self.ask(id, move |owner| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let found = owner.local().into_iter().find(|open| open.id() == id);
            let answer = at_once(owner.close(&scope, id, request.clone()));
            match (fault, answer, found) {
                (Fault::KeepsAfterClose, Ok(()), Some(found)) => {
                    owner.insert(found);
                    Ok(())
                }
                (Fault::ClosesTwice, Ok(()), Some(found)) => {
                    kept.connections.push(found);
                    Ok(())
                }
                (Fault::ClosesTwice, Err(_), None) => {
                    let again = kept.connections.iter().find(|open| open.id() == id);
                    again.map(|again| again.close(&request)).ok_or(DeliveryError::Gone)
                }
                (_, answer, _) => answer,
            }
        })
    }

    fn join(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        if self.fault == Fault::JoinsOneNode && id.node() != self.node() {
            let scope = scope.clone();
            return self.ask(id, move |owner| at_once(owner.describe(&scope, id)).map(drop));
        }
        if self.fault == Fault::AnswersBeforeTheJoin && id.node() != self.node() {
            let (scope, group, kept) = (scope.clone(), group.clone(), Arc::clone(&self.kept));
            return self.ask(id, move |owner| {
                at_once(owner.describe(&scope, id))?;
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.joining.push((scope, group, id));
                Ok(())
            });
        }
        let (fault, scope, group) = (self.fault, scope.clone(), group.clone());
        let join = move |owner: &Node| match at_once(owner.join(&scope, &group, id)) {
            Err(_) if fault == Fault::JoinsStrangers => {
                let all = owner.local();
                let stranger =
                    all.iter().find(|open| open.id() == id).ok_or(DeliveryError::Gone)?;
                at_once(owner.join(stranger.scope(), &group, id))
            }
            answer => answer,
        };
        if self.fault == Fault::JoinsLater && id.node() == self.node() {
            let (nodes, own) = (Arc::clone(&self.nodes), self.own);
            return Reply::Later(Box::pin(async move { join(&nodes[own]) }));
        }
        self.ask(id, join)
    }

    fn leave(
        &self,
        scope: &Scope,
        group: &GroupName,
        id: ConnectionId,
    ) -> Reply<Result<(), DeliveryError>> {
        self.join_at_last();
        let (scope, group, fault) = (scope.clone(), group.clone(), self.fault);
        self.ask(id, move |owner| match fault {
            Fault::LeavesNothing => at_once(owner.describe(&scope, id)).map(drop),
            _ => at_once(owner.leave(&scope, &group, id)),
        })
    }

    fn send(
        &self,
        scope: &Scope,
        audience: Audience,
        mut message: Message,
        mut except: Vec<ConnectionId>,
    ) -> Reply<Result<SendReport, Unavailable>> {
        let (fault, scope) = (self.fault, scope.clone());
        let audience = match audience {
            Audience::User(_) if fault == Fault::TakesUsersForStages => Audience::Stage,
            other => other,
        };
        match fault {
            Fault::IgnoresExcept => except.clear(),
            Fault::OvertakesInGroups if message.payload == "0 3" => {
                message.payload = "0 4".into();
            }
            Fault::OvertakesInGroups if message.payload == "0 4" => {
                message.payload = "0 3".into();
            }
            _ => {}
        }
        let known = self.nodes.each_ref().map(Node::node);
        let unknown: Vec<_> = match &audience {
            Audience::Connections(list) => list.as_slice().to_vec(),
            _ => vec![],
        };
        let unknown = unknown.into_iter().filter(move |id| !known.contains(&id.node()));
        let reports = self.each(fault != Fault::SendsToOneNode, move |node| {
            let mut audience = audience.clone();
            if let Audience::Connections(list) = &mut audience {
                let own = list.as_slice().iter().filter(|id| id.node() == node.node());
                *list = ConnectionList::new(own.copied().collect()).expect("it is a part of one");
            }
            let send = |scope: &Scope, audience| {
                node.send(scope, audience, message.clone(), except.clone())
            };
            let members = match (&audience, fault) {
                (Audience::Group(group), Fault::CountsEverybody) => {
                    Some(at_once(node.count(&scope, group)).expect("memory is always there"))
                }
                _ => None,
            };
            match (&audience, fault) {
                (_, Fault::SendsTwice) => drop(at_once(send(&scope, audience.clone()))),
                (_, Fault::EncodesForEach) => drop(RecordingConnection::encode(&message)),
                (Audience::Stage, Fault::CrossesStages) => {
                    drop(at_once(send(&elsewhere(), Audience::Stage)));
                }
                _ => {}
            }
            let report = send(&scope, audience);
            match members {
                Some(members) if members > 0 => Reply::Later(Box::pin(async move {
                    let report = report.await?;
                    Ok(SendReport { recipients: members, nodes: 1, ..report })
                })),
                _ => report,
            }
        });
        Reply::Later(Box::pin(async move {
            let mut total = SendReport { gone: unknown.collect(), ..SendReport::default() };
            for report in reports.await {
                total.recipients += report.recipients;
                total.nodes += report.nodes;
                total.gone.extend(report.gone);
            }
            match fault {
                Fault::CountsNodesAsked => total.nodes = 2,
                Fault::LosesTheGone => total.gone.clear(),
                _ => {}
            }
            Ok(total)
        }))
    }

    fn send_once(
        &self,
        scope: &Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        call: &CallName,
    ) -> Reply<Result<SendReport, Unavailable>> {
        // A memory of each node's own, where the fault is that.
        let sends = &self.sends[if self.fault == Fault::SendsAgain { self.own } else { 0 }];
        let (node, of) = (self.clone(), scope.clone());
        let target = (audience.clone(), except.clone());
        once(sends, scope, target, call, move || {
            node.send(&of, audience.clone(), message.clone(), except.clone())
        })
    }

    fn close_audience(
        &self,
        scope: &Scope,
        audience: Audience,
        mut request: CloseRequest,
    ) -> Reply<Result<u64, Unavailable>> {
        let (fault, scope) = (self.fault, scope.clone());
        if fault == Fault::ClosesWithoutReason {
            request.reason.clear();
        }
        let counts = self.each(fault != Fault::ClosesOneNode, move |node| {
            node.close_audience(&scope, audience.clone(), request.clone())
        });
        Reply::Later(Box::pin(async move { Ok(counts.await.into_iter().sum()) }))
    }

    fn count(&self, scope: &Scope, group: &GroupName) -> Reply<Result<u64, Unavailable>> {
        self.join_at_last();
        let (scope, group, ended) = (scope.clone(), group.clone(), self.kept().ended);
        let all = self.fault != Fault::CountsOneNode;
        let counts = self.each(all, move |node| node.count(&scope, &group));
        Reply::Later(Box::pin(async move { Ok(counts.await.into_iter().sum::<u64>() + ended) }))
    }

    fn members(
        &self,
        scope: &Scope,
        group: &GroupName,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        self.join_at_last();
        let (scope, group) = (scope.clone(), group.clone());
        self.page(limit, cursor, move |node, limit, cursor| {
            node.members(&scope, &group, limit, cursor)
        })
    }

    fn list(
        &self,
        scope: &Scope,
        limit: PageLimit,
        cursor: Option<Cursor>,
    ) -> Reply<Result<Page, Unavailable>> {
        let scope = scope.clone();
        self.page(limit, cursor, move |node, limit, cursor| node.list(&scope, limit, cursor))
    }

    fn local(&self) -> Vec<Arc<RecordingConnection>> {
        match self.fault {
            Fault::ListsForeign => self.nodes.iter().flat_map(ConnectionStore::local).collect(),
            _ => self.own().local(),
        }
    }
}
