//! The suite is tested with stores that break one guarantee each: a check that lets its fault pass
//! is no check.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    at_once,
    clustered::{Clustered, Fault},
    run_all, run_all_across,
};

#[test]
fn a_store_that_answers_later_passes_within_a_node_and_across() {
    at_once(run_all(async || Clustered::pair(Fault::None).0));
    at_once(run_all_across(async || Clustered::pair(Fault::None)));
}

#[test]
fn each_fault_is_found_and_named() {
    use Fault::*;
    let mut missed = Vec::new();
    for (fault, complaint) in [
        (GivesIdsTwice, "was given twice"),
        (CountsIds, "not random"),
        (NamesAnotherNode, "names another node than the owner"),
        (KeepsAfterRemove, "racing removes got the connection"),
        (KeepsAfterClose, "after its close"),
        (ClosesOnRemove, "`remove` closed the connection"),
        (ClosesTwice, "a close of a connection after its close"),
        (ForgetsReason, "told code and reason"),
        (SignsForTheOwner, "names the owner"),
        (AnswersBeforeTheQueue, "reached the connection"),
        (DropsText, "stands in the queue when it is answered"),
        (TakesFullForGone, "three posts to a queue that has room for two"),
        (TakesClosedForFull, "closed itself"),
        (RemovesWhatIsFull, "a full connection is not gone"),
        (Overtakes, "the order of one caller's messages"),
        (IgnoresTheApi, "a post under"),
        (IgnoresTheStage, "a post under"),
        (TellsFullToStrangers, "a post under"),
        (RemovesForEveryone, "a node removed another's connection"),
        (WaitsAtHome, "had to wait"),
        (EncodesForNobody, "encodings of a message to nobody"),
        (EncodesTwice, "encodings of a message to an open connection"),
        (ListsForeign, "lists another's connection as its own"),
        (JoinsOneNode, "the count of members after each joined"),
        (LeavesNothing, "the count of members after a leave"),
        (JoinsStrangers, "a join of another stage's connection"),
        (JoinsLater, "a join of an own connection waits"),
        (AnswersBeforeTheJoin, "recipients of a send after a join was answered"),
        (CountsTheDead, "the count of members after its members were removed"),
        (CountsOneNode, "the count of members after each joined"),
        (SendsToOneNode, "recipients in one stage"),
        (SendsTwice, "messages to the only member in its stage"),
        (IgnoresExcept, "the report of a send to a group"),
        (CountsEverybody, "the report of a send to a group"),
        (CountsNodesAsked, "a send after its members left"),
        (CrossesStages, "a broadcast crossed stages"),
        (TakesUsersForStages, "the report of a send to a user"),
        (LosesTheGone, "the report of a send to a list"),
        (EncodesForEach, "encodings of a message to a group"),
        (OvertakesInGroups, "the order of one sender's messages to a group"),
        (ClosesOneNode, "connections of a group that were closed"),
        (ClosesWithoutReason, "what one of a group is told"),
        (SkipsAtPages, "what pages of 1 show"),
        (RepeatsAtPages, "do not end"),
        (IgnoresTheLimit, "a page of 1 has"),
        (ForgetsTheCursor, "do not end"),
        (PostsAgain, "messages of a post that came twice"),
        (SendsAgain, "messages of a send that came twice"),
    ] {
        let run = || at_once(run_all_across(async || Clustered::pair(fault)));
        let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else {
            missed.push(format!("{fault:?} passed the suite"));
            continue;
        };
        // Text without arguments is a `&str`.
        let fixed = panic.downcast_ref::<&str>().copied().unwrap_or_default();
        let told = panic.downcast_ref::<String>().map_or(fixed, String::as_str);
        if !told.contains(complaint) {
            missed.push(format!("{fault:?} was found by another check: {told}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
