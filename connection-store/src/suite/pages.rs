//! Guarantee 10: lists in pages.

use std::collections::BTreeMap;

use super::{
    TestedStore, elsewhere, group, groups::join_all, home, ids, open, open_as, open_many, settle,
};
use crate::{ConnectionId, Cursor, GroupName, LocalConnection, Page, PageLimit};

/// Guarantee 10, while nothing changes.
pub async fn pages_show_everybody_once(owner: &TestedStore, caller: &TestedStore) {
    let room = group("room");
    for what in [None, Some(&room)] {
        assert_eq!(whole(caller, what, 1).await, [], "the pages of an empty list");
    }
    let everybody = [open_many(owner, 23, 1), open_many(caller, 10, 1)].concat();
    open_as(owner, None, elsewhere(), 1);
    let members = [&everybody[..7], &everybody[20..]].concat();
    join_all(caller, &room, &members).await;
    settle(owner, caller).await;
    for (what, expected) in [(None, &everybody), (Some(&room), &members)] {
        for limit in [1, 5, 10, 20, 33, 1000] {
            let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = page(caller, what, limit, cursor).await;
                let length = page.connections.len();
                assert!(length <= usize::from(limit), "a page of {limit} has {length}");
                seen.extend(page.connections);
                pages += 1;
                let Some(next) = page.next else { break };
                assert!(pages < 40, "pages of {} connections do not end", expected.len());
                cursor = Some(next.to_string().parse().expect("a cursor survives its text"));
            }
            seen.sort_unstable();
            let mut expected = ids(expected);
            expected.sort_unstable();
            assert_eq!(seen, expected, "what pages of {limit} show");
        }
    }
}

/// Guarantee 10, for those who stay.
pub async fn pages_show_everybody_who_stays_once_while_others_come_and_go(
    owner: &TestedStore,
    caller: &TestedStore,
) {
    let room = group("room");
    for what in [None, Some(&room)] {
        let mut everybody = [open_many(owner, 60, 1), open_many(caller, 60, 1)].concat();
        join_all(caller, &room, &everybody).await;
        settle(owner, caller).await;
        // Every other one goes, those behind the cursor and those before it, a few a page.
        let mut leaving: Vec<_> = everybody.iter().step_by(2).cloned().collect();
        everybody.retain(|stayer| !leaving.iter().any(|gone| gone.id() == stayer.id()));
        leaving.sort_by_key(|connection| connection.describe().connected_at_ms * 7 % 11);
        let (mut seen, mut cursor, mut pages) = (BTreeMap::new(), None, 0);
        loop {
            let page = page(caller, what, 9, cursor).await;
            for id in page.connections {
                *seen.entry(id).or_insert(0) += 1;
            }
            pages += 1;
            assert!(pages < 80, "pages do not end");
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            for gone in leaving.drain(..leaving.len().min(7)) {
                if owner.remove(gone.id()).is_none() {
                    drop(caller.remove(gone.id()));
                }
            }
            if pages < 20 {
                let come = [open(owner, 1), open(caller, 1)];
                join_all(caller, &room, &come).await;
            }
        }
        for id in ids(&everybody) {
            let times = seen.get(&id).copied().unwrap_or(0);
            assert_eq!(times, 1, "one that stayed is on {times} pages of a list");
        }
        assert!(seen.values().all(|times| *times == 1), "one that came or went is on two pages");
    }
}

/// A page of a group's members, or of the stage's connections.
async fn page(
    store: &TestedStore,
    of: Option<&GroupName>,
    limit: u16,
    cursor: Option<Cursor>,
) -> Page {
    let limit = PageLimit::new(limit).expect("the suite's limits are good ones");
    let page = match of {
        Some(group) => store.members(&home(), group, limit, cursor).await,
        None => store.list(&home(), limit, cursor).await,
    };
    page.unwrap_or_else(|error| panic!("a page was answered {error:?}"))
}

/// All pages of a list, whatever they hold.
pub(super) async fn whole(
    store: &TestedStore,
    of: Option<&GroupName>,
    limit: u16,
) -> Vec<ConnectionId> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = page(store, of, limit, cursor).await;
        seen.extend(page.connections);
        cursor = page.next;
        if cursor.is_none() {
            return seen;
        }
    }
    panic!("the pages of a list do not end");
}
