//! The rules, without a gateway.

use serde_json::Value;

use super::*;

fn ask(room: &str, name: &str) -> Join {
    Join { room: room.to_owned(), name: name.to_owned(), ..Join::default() }
}

fn words(room: &str, text: &str) -> Say {
    Say { room: room.to_owned(), text: text.to_owned(), r#ref: None }
}

/// A person at a connection of the same name.
fn by(person: &str) -> Caller<'_> {
    Caller { person, connection: person }
}

fn told(out: &[Delivery]) -> Vec<Value> {
    out.iter().map(|d| serde_json::from_slice(&d.event).unwrap()).collect()
}

/// What is said about people, and not about rooms.
fn presence(out: &[Delivery]) -> Vec<Value> {
    told(out).into_iter().filter(|event| event["type"] != "rooms").collect()
}

fn look(rooms: &Rooms, person: &str, ask: &Look) -> Value {
    serde_json::from_slice(&rooms.look(by(person), ask).unwrap()).unwrap()
}

fn from_the_start(room: &str) -> Look {
    Look { room: room.to_owned(), ..Look::default() }
}

fn numbers(welcome: &Value) -> Vec<u64> {
    let messages = welcome["messages"].as_array().unwrap();
    messages.iter().map(|m| m["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_newcomer_is_announced_to_the_room_but_not_to_themselves() {
    let mut rooms = Rooms::default();
    let (room, out) = rooms.join(by("a"), &ask("Night  Watch", "Ann"), 0).unwrap();
    assert_eq!(room, "night-watch");
    let but_a = Recipients::Room { room, except: Some("a".to_owned()) };
    assert_eq!((&out[0].to, &out[1].to), (&but_a, &Recipients::All));
    assert_eq!(told(&out)[0]["person"]["name"], "Ann");
    let welcome = look(&rooms, "a", &from_the_start("night-watch"));
    assert_eq!((&welcome["you"], &welcome["people"][0]["id"]), (&"a".into(), &"a".into()));
    assert_eq!(rooms.look(by("b"), &from_the_start("night-watch")), Err(Refusal::NotJoined));
    assert_eq!(rooms.look(by("a"), &from_the_start("elsewhere")), Err(Refusal::NotJoined));
}

#[test]
fn whoever_joins_again_is_not_announced_and_another_name_is() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    assert!(rooms.join(by("a"), &ask("lobby", "Ann"), 1).unwrap().1.is_empty());
    let renamed = told(&rooms.join(by("a"), &ask("lobby", "Anna"), 2).unwrap().1);
    assert_eq!((&renamed[0]["type"], &renamed[0]["was"]), (&"renamed".into(), &"Ann".into()));
    assert_eq!(renamed.len(), 1);
}

#[test]
fn a_person_who_comes_back_while_the_gateway_is_asked_was_never_away() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    assert_eq!(rooms.ask_in("lobby", "a", 500), Some(FAREWELL_MS - 500), "only just here");
    assert_eq!(rooms.ask_in("lobby", "a", FAREWELL_MS), Some(0));
    rooms.join(by("a"), &ask("lobby", "Ann"), FAREWELL_MS + 1).unwrap();
    assert!(rooms.absent("lobby", "a", FAREWELL_MS).is_empty(), "the answer is about before");
    let left = presence(&rooms.absent("lobby", "a", 2 * FAREWELL_MS + 1));
    assert_eq!((&left[0]["type"], &left[0]["person"]["name"]), (&"left".into(), &"Ann".into()));
    assert_eq!(rooms.ask_in("lobby", "a", 9_999), None);
    assert!(rooms.absent("lobby", "a", 9_999).is_empty(), "once");
}

#[test]
fn who_leaves_for_another_room_is_asked_after_at_once_unless_they_come_again() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 10_000).unwrap();
    rooms.join(by("a"), &ask("quay", "Ann"), 10_001).unwrap();
    rooms.leaves("lobby", "a");
    assert_eq!(rooms.ask_in("lobby", "a", 10_001), Some(0));
    assert_eq!(rooms.rooms_of("a"), ["lobby", "quay"]);
    rooms.join(by("a"), &ask("lobby", "Ann"), 10_002).unwrap();
    assert_eq!(rooms.ask_in("lobby", "a", 10_002), Some(FAREWELL_MS));
}

/// Two windows of one person are two connections, so more than that is no contradiction.
#[test]
fn an_event_that_reached_fewer_than_are_shown_tells_that_someone_is_gone() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    rooms.join(by("b"), &ask("lobby", "Ben"), 0).unwrap();
    assert_eq!(rooms.missed_by("lobby", 1), ["a", "b"]);
    assert!(rooms.missed_by("lobby", 2).is_empty() && rooms.missed_by("lobby", 3).is_empty());
    assert!(rooms.missed_by("nowhere", 0).is_empty());
}

#[test]
fn who_has_been_silent_for_longer_than_a_page_would_be_is_asked_after() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    rooms.join(by("b"), &ask("quay", "Ben"), 0).unwrap();
    rooms.present("quay", "b", 1);
    assert!(rooms.unheard(UNHEARD_AFTER_MS - 1).is_empty());
    let (lobby, a) = ("lobby".to_owned(), "a".to_owned());
    assert_eq!(rooms.unheard(UNHEARD_AFTER_MS), [(lobby, a)]);
}

#[test]
fn history_after_a_reconnect_is_only_what_was_missed() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    let log = look(&rooms, "a", &from_the_start("lobby"))["log"].as_str().unwrap().to_owned();
    for n in 1..=5 {
        rooms.say(by("a"), &words("lobby", &format!("message {n}")), n).unwrap();
    }
    let since = |log: &str| Look { log: Some(log.to_owned()), since: 3, ..from_the_start("lobby") };
    assert_eq!(numbers(&look(&rooms, "a", &since(&log))), [4, 5]);
    assert_eq!(numbers(&look(&rooms, "a", &since("other"))), [1, 2, 3, 4, 5]);
}

/// The longest that anyone can say, as often as a room remembers it, with characters that
/// JSON writes in six bytes.
#[test]
fn nothing_is_larger_than_a_message_may_be_and_a_long_history_comes_in_pieces() {
    let mut rooms = Rooms::default();
    let wide = "\u{10348}".repeat(MAX_NAME_CHARS);
    for n in 0..MAX_ROOMS - 1 {
        let room = format!("{n:02}{}", "\u{10348}".repeat(MAX_ROOM_CHARS - 2));
        rooms.join(by(&format!("{n:016}")), &ask(&room, &wide), 0).unwrap();
    }
    for n in 0..MAX_IN_ROOM {
        rooms.join(by(&format!("{n:016}")), &ask("lobby", &wide), 0).unwrap();
    }
    let (me, text) = (format!("{:016}", 0), format!("x{}x", "\u{1}".repeat(MAX_TEXT_CHARS - 2)));
    for n in 0..MAX_HISTORY as u64 + 10 {
        rooms.say(by(&me), &words("lobby", &text), n).unwrap();
    }
    let (mut seen, mut since, mut log) = (Vec::new(), 0, None);
    while since < MAX_HISTORY as u64 + 10 {
        let ask = Look { log: log.take(), since, ..from_the_start("lobby") };
        let welcome = rooms.look(by(&me), &ask).unwrap();
        assert!(welcome.len() <= 131_072, "{} bytes", welcome.len());
        let welcome: Value = serde_json::from_slice(&welcome).unwrap();
        seen.extend(numbers(&welcome));
        since = *seen.last().unwrap();
        log = Some(welcome["log"].as_str().unwrap().to_owned());
    }
    assert!(seen.into_iter().eq(11..=MAX_HISTORY as u64 + 10));

    assert_eq!(rooms.join(by("z"), &ask("lobby", "Zoe"), 0).unwrap_err(), Refusal::RoomFull);
    assert_eq!(rooms.join(by("z"), &ask("one-more", "Zoe"), 0).unwrap_err(), Refusal::TooManyRooms);
}

#[test]
fn a_new_room_takes_the_place_of_the_empty_one_that_was_used_longest_ago() {
    let mut rooms = Rooms::default();
    for n in 0..MAX_ROOMS - 1 {
        let (person, room) = (format!("p{n}"), format!("room-{n}"));
        rooms.join(by(&person), &ask(&room, "Ann"), 0).unwrap();
        rooms.say(by(&person), &words(&room, "hi"), 1).unwrap();
        rooms.absent(&room, &person, FAREWELL_MS);
    }
    rooms.join(by("z"), &ask("one-more", "Zoe"), 0).unwrap();
    assert!(!rooms.rooms.contains_key("room-0"));
    assert!(["lobby", "room-1", "one-more"].iter().all(|room| rooms.rooms.contains_key(*room)));
}

#[test]
fn a_room_where_nothing_was_said_ends_with_its_last_person() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("quiet", "Ann"), 0).unwrap();
    assert!(presence(&rooms.absent("quiet", "a", FAREWELL_MS)).is_empty());
    assert_eq!(rooms.rooms.keys().collect::<Vec<_>>(), ["lobby"]);
}

#[test]
fn a_message_said_again_with_the_same_mark_is_one_message() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    let marked = Say { r#ref: Some("m1".to_owned()), ..words("lobby", "once") };
    assert_eq!(rooms.say(by("a"), &marked, 1).unwrap().0, 1);
    let elsewhere = Caller { person: "a", connection: "another" };
    let (seq, out) = rooms.say(elsewhere, &marked, 2).unwrap();
    assert_eq!((seq, out.len()), (1, 0));
    rooms.join(by("b"), &ask("lobby", "Ben"), 0).unwrap();
    assert_eq!(rooms.say(by("b"), &marked, 3).unwrap().0, 2, "marks are each person's own");
}

#[test]
fn names_and_texts_out_of_bounds_are_refused_and_change_nothing() {
    let mut rooms = Rooms::default();
    let long = "é".repeat(41);
    for (room, name, why) in [
        ("lobby", " \n\t ", Refusal::Empty("a name")),
        ("lobby", "\u{7}", Refusal::Empty("a name")),
        ("", "Ann", Refusal::Empty("a room's name")),
        ("lobby", long.as_str(), Refusal::TooLong("a name", 40)),
        (long.as_str(), "Ann", Refusal::TooLong("a room's name", 40)),
    ] {
        assert_eq!(rooms.join(by("a"), &ask(room, name), 0).unwrap_err(), why);
    }
    let marked = Join { r#ref: Some(long), ..ask("lobby", "A") };
    assert_eq!(rooms.join(by("a"), &marked, 0).unwrap_err().code(), "too_long");
    assert!(rooms.rooms_of("a").is_empty());
    rooms.join(by("a"), &ask("lobby", &"é".repeat(40)), 0).unwrap();
    let mut say = |text: &str| rooms.say(by("a"), &words("lobby", text), 1).map(|said| said.0);
    assert_eq!(say("  "), Err(Refusal::Empty("a message")));
    let long = "é".repeat(MAX_TEXT_CHARS + 1);
    assert_eq!(say(&long), Err(Refusal::TooLong("a message", MAX_TEXT_CHARS)));
    assert_eq!(say(&long[2..]), Ok(1));
}

#[test]
fn nobody_is_told_that_they_are_writing_themselves() {
    let mut rooms = Rooms::default();
    rooms.join(by("a"), &ask("lobby", "Ann"), 0).unwrap();
    let lobby = Typing { room: "lobby".to_owned() };
    let out = rooms.typing(by("a"), &lobby);
    let but_a = Recipients::Room { room: "lobby".to_owned(), except: Some("a".to_owned()) };
    assert_eq!((out.len(), &out[0].to), (1, &but_a));
    assert!(rooms.typing(by("stranger"), &lobby).is_empty());
}
