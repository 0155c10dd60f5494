//! Who is in which room, and what was said there: no socket, no clock, no task.
//!
//! In:  what one connection asked for ([`Join`], [`Say`]), or that it is gone.
//! Out: [`Delivery`]s, in the order in which they must reach each connection, or a [`Refusal`].
//!
//! Holds always: a connection is in one room at most; the messages of a room are numbered
//! 1, 2, 3, …, without a gap; a refused request has changed nothing; no event is larger than
//! the 131072 bytes that the gateway takes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Most characters in a person's name.
pub const MAX_NAME_CHARS: usize = 40;
/// Most characters in a room's name.
pub const MAX_ROOM_CHARS: usize = 40;
/// Most characters in one message.
pub const MAX_TEXT_CHARS: usize = 2000;
/// Messages that a room remembers; older ones are forgotten first.
pub const MAX_HISTORY: usize = 200;
/// Most people in one room: the list of people must fit in one message.
pub const MAX_IN_ROOM: usize = 200;
/// Most rooms at once: the list of rooms must fit in one message.
pub const MAX_ROOMS: usize = 100;
/// Most bytes in the client's own marks (`key`, `ref`).
const MAX_MARK_BYTES: usize = 64;
/// History is sent in pieces of about this many bytes.
const HISTORY_PIECE_BYTES: usize = 64 * 1024;
/// The room that is always there.
const LOBBY: &str = "lobby";

/// `{"action":"join", …}`: come into a room, or say again that one is there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Join {
    /// Any name; spaces become `-`, letters become small. 1 to 40 characters.
    pub room: String,
    /// What others see. 1 to 40 characters.
    pub name: String,
    /// A secret of the browser's, the same after a reconnect: then it is the same person.
    pub key: Option<String>,
    /// From an earlier `welcome`: which numbering `since` belongs to.
    pub log: Option<String>,
    /// The last message that the client has seen in `log`; only later ones are sent.
    pub since: u64,
    /// Comes back in the answer and in `welcome`.
    pub r#ref: Option<String>,
}

/// `{"action":"say", …}`: one message to everyone in the room.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Say {
    /// The room as `welcome` named it: a message that overtook a change of rooms is refused.
    pub room: String,
    /// 1 to 2000 characters.
    pub text: String,
    /// Comes back in the answer and in the message. Said again with the same mark (after a
    /// reconnect, when the answer was lost), it is still one message.
    pub r#ref: Option<String>,
}

/// Why a request was not carried out. The text is for the person at the other end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, or JSON of another form.
    #[error("this is no request that the chat understands: {0}")]
    Malformed(String),
    /// No route of this name.
    #[error("the chat knows the actions join, say and typing")]
    UnknownAction,
    /// The field has nothing in it that could be shown.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The field has too many characters (or bytes, for marks).
    #[error("{0} has at most {1} characters")]
    TooLong(&'static str, usize),
    /// [`MAX_IN_ROOM`] is reached.
    #[error("this room is full: it holds {MAX_IN_ROOM}")]
    RoomFull,
    /// [`MAX_ROOMS`] is reached, and someone is in each of them.
    #[error("there are too many rooms already")]
    TooManyRooms,
    /// The connection is not in that room (any more): join first.
    #[error("join the room first")]
    NotJoined,
}

impl Refusal {
    /// For programs: the page joins again on `not_joined`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownAction => "unknown_action",
            Self::Empty(_) => "empty",
            Self::TooLong(..) => "too_long",
            Self::RoomFull => "room_full",
            Self::TooManyRooms => "too_many_rooms",
            Self::NotJoined => "not_joined",
        }
    }
}

/// One event on its way to some connections.
#[derive(Debug)]
pub struct Delivery {
    /// Connection ids.
    pub to: Vec<String>,
    /// JSON, encoded once for all of them.
    pub event: Bytes,
}

/// What clients are told without having asked.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    /// To whoever joined: how things stand. `history` follows, up to `seq`.
    Welcome {
        room: &'a str,
        r#ref: Option<&'a str>,
        log: &'a str,
        seq: u64,
        you: &'a str,
        people: Vec<Person<'a>>,
        rooms: Vec<RoomLine<'a>>,
    },
    History {
        room: &'a str,
        messages: &'a [&'a Message],
    },
    Message {
        room: &'a str,
        #[serde(flatten)]
        message: &'a Message,
    },
    Joined {
        room: &'a str,
        person: Person<'a>,
    },
    Left {
        room: &'a str,
        person: Person<'a>,
    },
    Renamed {
        room: &'a str,
        person: Person<'a>,
        was: &'a str,
    },
    Typing {
        room: &'a str,
        person: Person<'a>,
    },
    Rooms {
        rooms: Vec<RoomLine<'a>>,
    },
}

#[derive(Serialize)]
struct Person<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct RoomLine<'a> {
    room: &'a str,
    people: usize,
}

/// One message, as it is kept and as it is sent.
#[derive(Serialize)]
struct Message {
    seq: u64,
    /// Unix time, milliseconds.
    at: u64,
    person: String,
    name: String,
    text: String,
    r#ref: Option<String>,
}

struct Room {
    /// Names the numbering of `messages`: a room that was dropped and made again has a new one.
    log: String,
    last_seq: u64,
    messages: VecDeque<Message>,
    /// Connection ids, in the order of joining.
    connections: Vec<String>,
    /// Larger is later: which empty room to drop for a new one.
    used: u64,
}

struct Member {
    room: String,
    person: String,
    name: String,
    /// The connection is gone, but its person may be back in a moment (a reload, a tunnel).
    away: bool,
}

/// Every room and everyone in them.
pub struct Rooms {
    rooms: BTreeMap<String, Room>,
    members: HashMap<String, Member>,
    /// Keyed at random: nobody can tell a person's key from the id that others see.
    ids: RandomState,
    turn: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        let mut all = Self {
            rooms: BTreeMap::new(),
            members: HashMap::new(),
            ids: RandomState::new(),
            turn: 0,
        };
        all.open_room(LOBBY);
        all
    }
}

impl Rooms {
    /// Brings a connection into a room, out of the one where it was. The newcomer gets
    /// `welcome` and `history`, the others `joined`. Joining again where one is announces
    /// nothing and fetches what one has missed.
    pub fn join(&mut self, connection: &str, ask: &Join) -> Result<Vec<Delivery>, Refusal> {
        let name = line("a name", &ask.name, " ", MAX_NAME_CHARS)?;
        let room = line("a room's name", &ask.room.to_lowercase(), "-", MAX_ROOM_CHARS)?;
        let key = mark("key", &ask.key)?.unwrap_or(connection);
        let mark = mark("ref", &ask.r#ref)?;
        let person = format!("{:016x}", self.ids.hash_one(key));

        let returning: Vec<String> = self.connections_of(&room, &person);
        if !returning.iter().any(|id| id == connection) && self.people(&room).len() >= MAX_IN_ROOM {
            return Err(Refusal::RoomFull);
        }
        if !self.rooms.contains_key(&room) && self.rooms.len() >= MAX_ROOMS {
            self.drop_an_empty_room()?;
        }

        let mut out = Vec::new();
        if self.members.get(connection).is_some_and(|m| m.room != room || m.person != person) {
            self.remove(connection, &mut out);
        }
        let was = returning.first().and_then(|id| self.members.get(id)).map(|m| m.name.clone());
        for id in &returning {
            if self.members.get(id).is_some_and(|m| m.away) && id != connection {
                self.take_out(id);
            } else if let Some(tab) = self.members.get_mut(id) {
                tab.name.clone_from(&name); // one person has one name, also in two windows
            }
        }
        if !self.rooms.contains_key(&room) {
            self.open_room(&room);
        }
        let here = self.rooms.get_mut(&room).expect("opened above");
        if !here.connections.iter().any(|id| id == connection) {
            here.connections.push(connection.to_owned());
        }
        let member = Member { room: room.clone(), person, name, away: false };
        self.members.insert(connection.to_owned(), member);

        self.welcome(connection, ask, mark, &mut out);
        let member = &self.members[connection];
        let (room, person) = (room.as_str(), Person { id: &member.person, name: &member.name });
        match was {
            None => {
                self.tell_room(
                    room,
                    Some(&member.person),
                    &Event::Joined { room, person },
                    &mut out,
                );
                self.tell_rooms(&mut out);
            }
            Some(was) if was != member.name => {
                self.tell_room(room, None, &Event::Renamed { room, person, was: &was }, &mut out);
            }
            Some(_) => {}
        }
        Ok(out)
    }

    /// Numbers and keeps one message and sends it to everyone in the room, its sender too.
    /// `at` is now, Unix milliseconds. Gives the message's number.
    pub fn say(
        &mut self,
        connection: &str,
        ask: &Say,
        at: u64,
    ) -> Result<(u64, Vec<Delivery>), Refusal> {
        let text = ask.text.trim();
        if text.is_empty() {
            return Err(Refusal::Empty("a message"));
        }
        if text.chars().count() > MAX_TEXT_CHARS {
            return Err(Refusal::TooLong("a message", MAX_TEXT_CHARS));
        }
        let mark = mark("ref", &ask.r#ref)?;
        let member = self.members.get(connection).filter(|m| m.room == ask.room);
        let member = member.ok_or(Refusal::NotJoined)?;
        self.turn += 1;
        let room = self.rooms.get_mut(&member.room).expect("a member's room is there");
        let again = |m: &&Message| m.person == member.person && m.r#ref.as_deref() == mark;
        if mark.is_some()
            && let Some(earlier) = room.messages.iter().rev().find(again)
        {
            return Ok((earlier.seq, Vec::new()));
        }
        room.used = self.turn;
        room.last_seq += 1;
        if room.messages.len() == MAX_HISTORY {
            room.messages.pop_front();
        }
        room.messages.push_back(Message {
            seq: room.last_seq,
            at,
            person: member.person.clone(),
            name: member.name.clone(),
            text: text.to_owned(),
            r#ref: mark.map(str::to_owned),
        });
        let (seq, message) = (room.last_seq, &room.messages[room.messages.len() - 1]);
        let event = encode(&Event::Message { room: &member.room, message });
        Ok((seq, vec![Delivery { to: self.reachable(&member.room, None), event }]))
    }

    /// Tells the others in the room that someone is writing. Nothing happens outside a room.
    pub fn typing(&self, connection: &str) -> Vec<Delivery> {
        let mut out = Vec::new();
        if let Some(Member { room, person, name, .. }) = self.members.get(connection) {
            let typing = Event::Typing { room, person: Person { id: person, name } };
            self.tell_room(room, Some(person), &typing, &mut out);
        }
        out
    }

    /// Sends nothing more to a connection that is gone. True when its person is still shown,
    /// and [`Rooms::give_up`] is due after a while.
    pub fn disconnected(&mut self, connection: &str) -> bool {
        self.members
            .get_mut(connection)
            .is_some_and(|member| !std::mem::replace(&mut member.away, true))
    }

    /// Takes a gone connection out of its room, and says so, unless its person is back.
    pub fn give_up(&mut self, connection: &str) -> Vec<Delivery> {
        let mut out = Vec::new();
        if self.members.get(connection).is_some_and(|member| member.away) {
            self.remove(connection, &mut out);
        }
        out
    }

    fn remove(&mut self, connection: &str, out: &mut Vec<Delivery>) {
        let Some(Member { room, person, name, .. }) = self.take_out(connection) else { return };
        if self.connections_of(&room, &person).is_empty() {
            let left = Event::Left { room: &room, person: Person { id: &person, name: &name } };
            self.tell_room(&room, None, &left, out);
        }
        let unused = |r: &Room| r.connections.is_empty() && r.messages.is_empty();
        if room != LOBBY && self.rooms.get(&room).is_some_and(unused) {
            self.rooms.remove(&room);
        }
        self.tell_rooms(out);
    }

    fn take_out(&mut self, connection: &str) -> Option<Member> {
        let member = self.members.remove(connection)?;
        if let Some(room) = self.rooms.get_mut(&member.room) {
            room.connections.retain(|id| id != connection);
        }
        Some(member)
    }

    fn welcome(&self, to: &str, ask: &Join, mark: Option<&str>, out: &mut Vec<Delivery>) {
        let member = &self.members[to];
        let (name, room) = (member.room.as_str(), &self.rooms[&member.room]);
        let mut send = |event: &Event<'_>| {
            out.push(Delivery { to: vec![to.to_owned()], event: encode(event) });
        };
        send(&Event::Welcome {
            room: name,
            r#ref: mark,
            log: &room.log,
            seq: room.last_seq,
            you: &member.person,
            people: self.people(name),
            rooms: self.room_lines(),
        });
        let since = if ask.log.as_ref() == Some(&room.log) { ask.since } else { 0 };
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for message in room.messages.iter().filter(|m| m.seq > since) {
            let more = encode(message).len();
            if bytes + more > HISTORY_PIECE_BYTES && !piece.is_empty() {
                send(&Event::History { room: name, messages: &piece });
                piece.clear();
                bytes = 0;
            }
            piece.push(message);
            bytes += more;
        }
        if !piece.is_empty() {
            send(&Event::History { room: name, messages: &piece });
        }
    }

    fn tell_room(&self, room: &str, except: Option<&str>, event: &Event, out: &mut Vec<Delivery>) {
        out.push(Delivery { to: self.reachable(room, except), event: encode(event) });
    }

    fn tell_rooms(&self, out: &mut Vec<Delivery>) {
        let to = self.members.iter().filter(|(_, m)| !m.away).map(|(id, _)| id.clone()).collect();
        out.push(Delivery { to, event: encode(&Event::Rooms { rooms: self.room_lines() }) });
    }

    fn reachable(&self, room: &str, except: Option<&str>) -> Vec<String> {
        let heard = |m: &Member| !m.away && Some(m.person.as_str()) != except;
        self.members_of(room).filter(|(_, m)| heard(m)).map(|(id, _)| id.clone()).collect()
    }

    fn connections_of(&self, room: &str, person: &str) -> Vec<String> {
        self.members_of(room)
            .filter(|(_, m)| m.person == person)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Each person once, in the order of joining.
    fn people(&self, room: &str) -> Vec<Person<'_>> {
        let mut people: Vec<Person<'_>> = Vec::new();
        for (_, Member { person: id, name, .. }) in self.members_of(room) {
            if !people.iter().any(|known| known.id == id) {
                people.push(Person { id, name });
            }
        }
        people
    }

    fn members_of(&self, room: &str) -> impl Iterator<Item = (&String, &Member)> {
        let ids = self.rooms.get(room).map_or(&[][..], |room| &room.connections);
        ids.iter().filter_map(|id| self.members.get_key_value(id))
    }

    fn room_lines(&self) -> Vec<RoomLine<'_>> {
        self.rooms.keys().map(|room| RoomLine { room, people: self.people(room).len() }).collect()
    }

    fn open_room(&mut self, name: &str) {
        self.turn += 1;
        let log = format!("{:016x}", self.ids.hash_one((self.turn, name)));
        let (messages, connections) = (VecDeque::new(), Vec::new());
        let room = Room { log, last_seq: 0, messages, connections, used: self.turn };
        self.rooms.insert(name.to_owned(), room);
    }

    fn drop_an_empty_room(&mut self) -> Result<(), Refusal> {
        let empty = self.rooms.iter().filter(|(n, r)| *n != LOBBY && r.connections.is_empty());
        let oldest = empty.min_by_key(|(_, r)| r.used).map(|(name, _)| name.clone());
        self.rooms.remove(&oldest.ok_or(Refusal::TooManyRooms)?);
        Ok(())
    }
}

/// One line of text that can be shown: its words, joined by `gap`, without control characters.
fn line(what: &'static str, text: &str, gap: &str, max: usize) -> Result<String, Refusal> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.join(gap).chars().filter(|c| !c.is_control()).collect();
    match text.chars().count() {
        0 => Err(Refusal::Empty(what)),
        n if n > max => Err(Refusal::TooLong(what, max)),
        _ => Ok(text),
    }
}

fn mark<'a>(what: &'static str, mark: &'a Option<String>) -> Result<Option<&'a str>, Refusal> {
    match mark.as_deref() {
        Some(text) if text.len() > MAX_MARK_BYTES => Err(Refusal::TooLong(what, MAX_MARK_BYTES)),
        mark => Ok(mark),
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers always encode").into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn ask(room: &str, name: &str, key: &str) -> Join {
        let (room, name) = (room.to_owned(), name.to_owned());
        Join { room, name, key: Some(key.to_owned()), ..Join::default() }
    }

    fn words(room: &str, text: &str) -> Say {
        Say { room: room.to_owned(), text: text.to_owned(), r#ref: None }
    }

    /// What one connection reads, of these kinds, in order.
    fn read_by(connection: &str, out: &[Delivery], kinds: &[&str]) -> Vec<Value> {
        let mine = out.iter().filter(|d| d.to.iter().any(|to| to == connection));
        let events = mine.map(|d| serde_json::from_slice::<Value>(&d.event).unwrap());
        events.filter(|e| kinds.contains(&e["type"].as_str().unwrap())).collect()
    }

    const PRESENCE: &[&str] = &["joined", "left", "renamed"];

    #[test]
    fn a_person_who_comes_back_in_time_was_never_away() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("lobby", "Ann", "key-a")).unwrap();
        rooms.join("b", &ask("lobby", "Ben", "key-b")).unwrap();
        assert!(rooms.disconnected("b"), "the farewell waits");
        assert!(!rooms.disconnected("b"), "and is due once");
        let back = rooms.join("b2", &ask("lobby", "Ben", "key-b")).unwrap();
        assert_eq!(read_by("a", &back, PRESENCE), Vec::<Value>::new());
        assert_eq!(read_by("b2", &back, &["welcome"])[0]["people"].as_array().unwrap().len(), 2);
        assert!(rooms.give_up("b").is_empty(), "the farewell of the old connection has lapsed");
    }

    #[test]
    fn two_windows_are_one_person_until_the_last_of_them_is_closed() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("lobby", "Ann", "key-a")).unwrap();
        rooms.join("b1", &ask("lobby", "Ben", "key-b")).unwrap();
        let second = rooms.join("b2", &ask("lobby", "Benno", "key-b")).unwrap();
        let told = read_by("a", &second, PRESENCE);
        assert_eq!((&told[0]["type"], &told[0]["was"]), (&"renamed".into(), &"Ben".into()));
        rooms.disconnected("b1");
        assert!(read_by("a", &rooms.give_up("b1"), PRESENCE).is_empty());
        rooms.disconnected("b2");
        let left = read_by("a", &rooms.give_up("b2"), PRESENCE);
        assert_eq!(
            (&left[0]["type"], &left[0]["person"]["name"]),
            (&"left".into(), &"Benno".into())
        );
    }

    #[test]
    fn going_to_another_room_leaves_the_first_at_once() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("lobby", "Ann", "key-a")).unwrap();
        rooms.join("b", &ask("lobby", "Ben", "key-b")).unwrap();
        let moved = rooms.join("b", &ask("Night  Watch", "Ben", "key-b")).unwrap();
        assert_eq!(read_by("a", &moved, PRESENCE)[0]["type"], "left");
        assert_eq!(read_by("b", &moved, &["welcome"])[0]["room"], "night-watch");
        assert_eq!(rooms.say("b", &words("lobby", "hi"), 1).unwrap_err(), Refusal::NotJoined);
    }

    #[test]
    fn history_after_a_reconnect_is_only_what_was_missed() {
        let mut rooms = Rooms::default();
        let first = rooms.join("a", &ask("lobby", "Ann", "key-a")).unwrap();
        let log = read_by("a", &first, &["welcome"])[0]["log"].as_str().unwrap().to_owned();
        for n in 1..=5 {
            rooms.say("a", &words("lobby", &format!("message {n}")), n).unwrap();
        }
        let since =
            |log: &str| Join { log: Some(log.to_owned()), since: 3, ..ask("lobby", "A", "k") };
        let missed = rooms.join("b", &since(&log)).unwrap();
        let seqs = |out: &[Delivery]| -> Vec<u64> {
            let pieces = read_by("b", out, &["history"]);
            let messages = pieces.iter().flat_map(|p| p["messages"].as_array().unwrap());
            messages.map(|m| m["seq"].as_u64().unwrap()).collect()
        };
        assert_eq!(seqs(&missed), [4, 5]);
        let of_another_log = rooms.join("b", &since("other")).unwrap();
        assert_eq!(seqs(&of_another_log), [1, 2, 3, 4, 5]);
    }

    /// The longest that anyone can say, as often as a room remembers it, with characters that
    /// JSON writes in six bytes.
    #[test]
    fn no_event_is_larger_than_a_message_may_be() {
        let mut rooms = Rooms::default();
        let wide = "\u{10348}".repeat(MAX_NAME_CHARS);
        for n in 0..MAX_ROOMS - 1 {
            let room = format!("{n:02}{}", "\u{10348}".repeat(MAX_ROOM_CHARS - 2));
            rooms.join(&format!("r{n}"), &ask(&room, &wide, &format!("r{n}"))).unwrap();
        }
        for n in 0..MAX_IN_ROOM {
            rooms.join(&format!("c{n}"), &ask("lobby", &wide, &format!("c{n}"))).unwrap();
        }
        let text = format!("x{}x", "\u{1}".repeat(MAX_TEXT_CHARS - 2));
        for n in 0..MAX_HISTORY as u64 + 10 {
            rooms.say("c0", &words("lobby", &text), n).unwrap();
        }
        let out = rooms.join("c0", &ask("lobby", &wide, "c0")).unwrap();
        assert!(out.iter().all(|d| d.event.len() <= 131_072));
        let pieces = read_by("c0", &out, &["history"]);
        let count: usize = pieces.iter().map(|p| p["messages"].as_array().unwrap().len()).sum();
        assert_eq!(count, MAX_HISTORY);

        let one_more = ask("lobby", "Zoe", "z");
        assert_eq!(rooms.join("z", &one_more).unwrap_err(), Refusal::RoomFull);
        let new_room = ask("one-more", "Zoe", "z");
        assert_eq!(rooms.join("z", &new_room).unwrap_err(), Refusal::TooManyRooms);
    }

    #[test]
    fn a_new_room_takes_the_place_of_the_empty_one_that_was_used_longest_ago() {
        let mut rooms = Rooms::default();
        for n in 0..MAX_ROOMS - 1 {
            let (connection, room) = (format!("c{n}"), format!("room-{n}"));
            rooms.join(&connection, &ask(&room, "Ann", &connection)).unwrap();
            rooms.say(&connection, &words(&room, "hi"), 1).unwrap();
            rooms.disconnected(&connection);
            rooms.give_up(&connection);
        }
        rooms.join("z", &ask("one-more", "Zoe", "z")).unwrap();
        assert!(!rooms.rooms.contains_key("room-0"));
        assert!(["lobby", "room-1", "one-more"].iter().all(|room| rooms.rooms.contains_key(*room)));
    }

    #[test]
    fn a_room_where_nothing_was_said_ends_with_its_last_person() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("quiet", "Ann", "a")).unwrap();
        rooms.join("a", &ask("lobby", "Ann", "a")).unwrap();
        assert_eq!(rooms.rooms.keys().collect::<Vec<_>>(), ["lobby"]);
    }

    #[test]
    fn a_message_said_again_with_the_same_mark_is_one_message() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("lobby", "Ann", "key-a")).unwrap();
        let marked = Say { r#ref: Some("m1".to_owned()), ..words("lobby", "once") };
        assert_eq!(rooms.say("a", &marked, 1).unwrap().0, 1);
        rooms.join("a2", &ask("lobby", "Ann", "key-a")).unwrap();
        let (seq, out) = rooms.say("a2", &marked, 2).unwrap();
        assert_eq!((seq, out.len()), (1, 0));
        rooms.join("b", &ask("lobby", "Ben", "key-b")).unwrap();
        assert_eq!(rooms.say("b", &marked, 3).unwrap().0, 2, "marks are each person's own");
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
            assert_eq!(rooms.join("a", &ask(room, name, "k")).unwrap_err(), why);
        }
        assert_eq!(rooms.join("a", &ask("lobby", "A", &long)).unwrap_err().code(), "too_long");
        assert!(rooms.members.is_empty());
        rooms.join("a", &ask("lobby", &"é".repeat(40), "k")).unwrap();
        let say =
            |rooms: &mut Rooms, text: &str| rooms.say("a", &words("lobby", text), 1).map(|s| s.0);
        assert_eq!(say(&mut rooms, "  "), Err(Refusal::Empty("a message")));
        let long = "é".repeat(MAX_TEXT_CHARS + 1);
        assert_eq!(say(&mut rooms, &long), Err(Refusal::TooLong("a message", MAX_TEXT_CHARS)));
        assert_eq!(say(&mut rooms, &long[2..]), Ok(1));
    }

    #[test]
    fn nobody_is_told_that_they_are_writing_themselves() {
        let mut rooms = Rooms::default();
        rooms.join("a", &ask("lobby", "Ann", "a")).unwrap();
        rooms.join("b", &ask("lobby", "Ben", "b")).unwrap();
        let out = rooms.typing("a");
        assert_eq!(out.iter().flat_map(|d| &d.to).collect::<Vec<_>>(), ["b"]);
        assert!(rooms.typing("stranger").is_empty());
    }
}
