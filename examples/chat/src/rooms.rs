//! Who is in which room, and what was said there: no socket, no clock, no task.
//!
//! In:  what someone asked for ([`Join`], [`Look`], [`Say`]), or that the gateway knows nobody
//!      any more who is a certain person in a certain room.
//! Out: an answer, and [`Delivery`]s in the order in which they must go out; or a [`Refusal`].
//!
//! People, not connections: which connections are in a room, and whose they are, only the gateway
//! knows ([`crate::groups`]). A person is shown from `join` until the gateway has none of theirs.
//!
//! Holds always: the messages of a room are numbered 1, 2, 3, …, without a gap; a refused request
//! has changed nothing; nothing is larger than the 131072 bytes that the gateway takes.

use std::{
    collections::{BTreeMap, VecDeque},
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
/// How long someone who is gone is still shown, and someone who has just come is not asked after:
/// a reload of the page is no farewell, and a room's group takes a moment to take someone in.
pub const FAREWELL_MS: u64 = 2_000;
/// Most bytes in the client's own marks (`ref`).
const MAX_MARK_BYTES: usize = 64;
/// History is sent in pieces of about this many bytes: people and rooms go with it.
const HISTORY_PIECE_BYTES: usize = 48 * 1024;
/// Pages say every four minutes that they are still there.
const UNHEARD_AFTER_MS: u64 = 300_000;
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
    /// The room that the connection was in before.
    pub leaving: Option<String>,
    /// Comes back in the answer.
    pub r#ref: Option<String>,
}

/// `{"action":"look", …}`: how things stand in a room, once one is in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Look {
    /// The room as the answer to `join` named it.
    pub room: String,
    /// From an earlier `welcome`: which numbering `since` belongs to.
    pub log: Option<String>,
    /// The last message that the client has seen in `log`; only later ones are sent.
    pub since: u64,
    /// Comes back in `welcome`.
    pub r#ref: Option<String>,
}

/// `{"action":"say", …}`: one message to everyone in the room.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Say {
    /// The room as `welcome` named it.
    pub room: String,
    /// 1 to 2000 characters.
    pub text: String,
    /// Comes back in the answer and in the message. Said again with the same mark (after a
    /// reconnect, when the answer was lost), it is still one message.
    pub r#ref: Option<String>,
}

/// `{"action":"typing", …}`: the others in the room may know that one is writing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typing {
    /// The room as `welcome` named it.
    pub room: String,
}

/// Who asks, as the gateway says it with each request.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The principal that the authorizer gave the connection, see `authorizer`.
    pub person: &'a str,
    /// The connection, which others' events are not for.
    pub connection: &'a str,
}

/// Why a request was not carried out. The text is for the person at the other end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, or JSON of another form.
    #[error("this is no request that the chat understands: {0}")]
    Malformed(String),
    /// No route of this name.
    #[error("the chat knows the actions join, look, say and typing")]
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
    /// The person is not shown in that room (any more): join first.
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

/// One event on its way.
#[derive(Debug)]
pub struct Delivery {
    /// Whom it is for.
    pub to: Recipients,
    /// JSON, encoded once for all of them.
    pub event: Bytes,
}

/// Whom an event is for. Who that is at this moment, the gateway knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Everyone in a room, perhaps but one connection.
    Room {
        /// The room's name.
        room: String,
        /// The connection that it is not for.
        except: Option<String>,
    },
    /// Everyone in any room.
    All,
}

/// The answer to [`Look`]: how things stand, and what was said after `since`, as much as fits.
#[derive(Serialize)]
#[serde(tag = "type", rename = "welcome")]
struct Welcome<'a> {
    room: &'a str,
    r#ref: Option<&'a str>,
    log: &'a str,
    /// The last message that there is. If `messages` ends before it, there is more.
    seq: u64,
    you: &'a str,
    people: Vec<Person<'a>>,
    rooms: Vec<RoomLine<'a>>,
    messages: Vec<&'a Message>,
}

/// What clients are told without having asked.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
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
    /// To everyone, when the backend knows less than they do, or they perhaps less than it.
    Anew,
}

/// What tells a page to join again.
pub fn anew() -> Bytes {
    encode(&Event::Anew)
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
    /// In the order of joining, each once.
    people: Vec<Shown>,
    /// Larger is later: which empty room to drop for a new one.
    used: u64,
}

/// A person in a room, as the others see them.
struct Shown {
    id: String,
    name: String,
    /// When they last said that they are here, Unix milliseconds.
    heard_at: u64,
}

/// Every room and everyone in them.
pub struct Rooms {
    rooms: BTreeMap<String, Room>,
    /// Keyed at random: the numbering of a backend that has forgotten is another one.
    logs: RandomState,
    turn: u64,
}

impl Default for Rooms {
    fn default() -> Self {
        let mut all = Self { rooms: BTreeMap::new(), logs: RandomState::new(), turn: 0 };
        all.open_room(LOBBY);
        all
    }
}

impl Rooms {
    /// Shows a person in a room and tells the others there. Joining again where one is shown
    /// announces nothing. `now` is Unix milliseconds. Gives the room's name as all use it.
    pub fn join(
        &mut self,
        caller: Caller<'_>,
        ask: &Join,
        now: u64,
    ) -> Result<(String, Vec<Delivery>), Refusal> {
        let name = line("a name", &ask.name, " ", MAX_NAME_CHARS)?;
        let room = room_name(&ask.room)?;
        mark(&ask.r#ref)?;
        let here = self.shown(&room, caller.person);
        if here.is_none() && self.people(&room).len() >= MAX_IN_ROOM {
            return Err(Refusal::RoomFull);
        }
        if !self.rooms.contains_key(&room) {
            if self.rooms.len() >= MAX_ROOMS {
                self.drop_an_empty_room()?;
            }
            self.open_room(&room);
        }

        let people = &mut self.rooms.get_mut(&room).expect("opened above").people;
        let mut out = Vec::new();
        let person = Person { id: caller.person, name: &name };
        match people.iter_mut().find(|p| p.id == caller.person) {
            Some(shown) => {
                shown.heard_at = now;
                let was = std::mem::replace(&mut shown.name, name.clone());
                if was != name {
                    let renamed = Event::Renamed { room: &room, person, was: &was };
                    out.push(to_room(&room, None, &renamed));
                }
            }
            None => {
                let id = caller.person.to_owned();
                people.push(Shown { id, name: name.clone(), heard_at: now });
                let joined = Event::Joined { room: &room, person };
                out.push(to_room(&room, Some(caller.connection), &joined));
                self.tell_rooms(&mut out);
            }
        }
        Ok((room, out))
    }

    /// A person's connection goes to another room. Whether it was their last one here, the
    /// gateway is asked at once.
    pub fn leaves(&mut self, room: &str, person: &str) {
        if let Some(shown) = self.shown_mut(room, person) {
            shown.heard_at = 0;
        }
    }

    /// How things stand in a room, as the answer to whoever asks: they are in its group by now,
    /// so that nothing can be said between this and what they will hear.
    pub fn look(&self, caller: Caller<'_>, ask: &Look) -> Result<Bytes, Refusal> {
        let mark = mark(&ask.r#ref)?;
        let there = self.rooms.get_key_value(&ask.room);
        let (name, room) = there.ok_or(Refusal::NotJoined)?;
        self.shown(name, caller.person).ok_or(Refusal::NotJoined)?;
        let since = if ask.log.as_ref() == Some(&room.log) { ask.since } else { 0 };
        let mut bytes = 0;
        let piece = room.messages.iter().filter(|m| m.seq > since).take_while(|message| {
            let first = bytes == 0;
            bytes += encode(message).len();
            first || bytes <= HISTORY_PIECE_BYTES
        });
        Ok(encode(&Welcome {
            room: name,
            r#ref: mark,
            log: &room.log,
            seq: room.last_seq,
            you: caller.person,
            messages: piece.collect(),
            people: self.people(name).iter().map(Shown::person).collect(),
            rooms: self.room_lines(),
        }))
    }

    /// Numbers and keeps one message and sends it to everyone in the room, its sender too.
    /// `now` is Unix milliseconds. Gives the message's number.
    pub fn say(
        &mut self,
        caller: Caller<'_>,
        ask: &Say,
        now: u64,
    ) -> Result<(u64, Vec<Delivery>), Refusal> {
        let text = ask.text.trim();
        if text.is_empty() {
            return Err(Refusal::Empty("a message"));
        }
        if text.chars().count() > MAX_TEXT_CHARS {
            return Err(Refusal::TooLong("a message", MAX_TEXT_CHARS));
        }
        let mark = mark(&ask.r#ref)?;
        let name = self.shown(&ask.room, caller.person).ok_or(Refusal::NotJoined)?.name.clone();
        self.turn += 1;
        let room = self.rooms.get_mut(&ask.room).expect("someone is shown in it");
        let again = |m: &&Message| m.person == caller.person && m.r#ref.as_deref() == mark;
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
            at: now,
            person: caller.person.to_owned(),
            name,
            text: text.to_owned(),
            r#ref: mark.map(str::to_owned),
        });
        let (seq, message) = (room.last_seq, &room.messages[room.messages.len() - 1]);
        let event = Event::Message { room: &ask.room, message };
        Ok((seq, vec![to_room(&ask.room, None, &event)]))
    }

    /// Tells the others in the room that someone is writing. Nothing happens outside a room.
    pub fn typing(&self, caller: Caller<'_>, ask: &Typing) -> Vec<Delivery> {
        let Some(shown) = self.shown(&ask.room, caller.person) else { return Vec::new() };
        let typing = Event::Typing { room: &ask.room, person: shown.person() };
        vec![to_room(&ask.room, Some(caller.connection), &typing)]
    }

    /// Where a person is shown.
    pub fn rooms_of(&self, person: &str) -> Vec<String> {
        let with = self.rooms.keys().filter(|room| self.shown(room, person).is_some());
        with.cloned().collect()
    }

    /// Everyone in a room, if that is more than an event for all of them has reached.
    pub fn missed_by(&self, room: &str, reached: u64) -> Vec<String> {
        let people = self.people(room);
        let all_reached = u64::try_from(people.len()).is_ok_and(|shown| shown <= reached);
        let ids = people.iter().map(|p| p.id.clone());
        if all_reached { Vec::new() } else { ids.collect() }
    }

    /// Who has not been heard of for longer than their page would let pass: room and person.
    pub fn unheard(&self, now: u64) -> Vec<(String, String)> {
        let all = self.rooms.iter().flat_map(|(room, r)| r.people.iter().map(move |p| (room, p)));
        let unheard = all.filter(|(_, p)| p.heard_at + UNHEARD_AFTER_MS <= now);
        unheard.map(|(room, p)| (room.clone(), p.id.clone())).collect()
    }

    /// In how many milliseconds the gateway may be asked whether a person is still in a room.
    /// `None`: they are not shown there.
    pub fn ask_in(&self, room: &str, person: &str, now: u64) -> Option<u64> {
        let shown = self.shown(room, person)?;
        Some((shown.heard_at + FAREWELL_MS).saturating_sub(now))
    }

    /// The gateway says that a person is in a room still.
    pub fn present(&mut self, room: &str, person: &str, now: u64) {
        if let Some(shown) = self.shown_mut(room, person) {
            shown.heard_at = now;
        }
    }

    /// The gateway, asked at `asked_at`, has no connection of a person in a room: says goodbye
    /// to the others, unless the person has come back meanwhile.
    pub fn absent(&mut self, room: &str, person: &str, asked_at: u64) -> Vec<Delivery> {
        let mut out = Vec::new();
        if self.ask_in(room, person, asked_at) != Some(0) {
            return out;
        }
        let here = self.rooms.get_mut(room).expect("someone is shown in it");
        let place = here.people.iter().position(|p| p.id == person).expect("shown, see above");
        let gone = here.people.remove(place);
        if room != LOBBY && here.people.is_empty() && here.messages.is_empty() {
            self.rooms.remove(room);
        } else {
            out.push(to_room(room, None, &Event::Left { room, person: gone.person() }));
        }
        self.tell_rooms(&mut out);
        out
    }

    fn tell_rooms(&self, out: &mut Vec<Delivery>) {
        let event = encode(&Event::Rooms { rooms: self.room_lines() });
        out.push(Delivery { to: Recipients::All, event });
    }

    fn people(&self, room: &str) -> &[Shown] {
        self.rooms.get(room).map_or(&[], |room| &room.people)
    }

    fn shown(&self, room: &str, person: &str) -> Option<&Shown> {
        self.people(room).iter().find(|p| p.id == person)
    }

    fn shown_mut(&mut self, room: &str, person: &str) -> Option<&mut Shown> {
        self.rooms.get_mut(room)?.people.iter_mut().find(|p| p.id == person)
    }

    fn room_lines(&self) -> Vec<RoomLine<'_>> {
        self.rooms.iter().map(|(room, r)| RoomLine { room, people: r.people.len() }).collect()
    }

    fn open_room(&mut self, name: &str) {
        self.turn += 1;
        let log = format!("{:016x}", self.logs.hash_one((self.turn, name)));
        let (messages, people) = (VecDeque::new(), Vec::new());
        let room = Room { log, last_seq: 0, messages, people, used: self.turn };
        self.rooms.insert(name.to_owned(), room);
    }

    fn drop_an_empty_room(&mut self) -> Result<(), Refusal> {
        let empty = self.rooms.iter().filter(|(n, r)| *n != LOBBY && r.people.is_empty());
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

/// A room's name as all use it: small letters, `-` between words.
pub fn room_name(asked: &str) -> Result<String, Refusal> {
    line("a room's name", &asked.to_lowercase(), "-", MAX_ROOM_CHARS)
}

fn mark(mark: &Option<String>) -> Result<Option<&str>, Refusal> {
    match mark.as_deref() {
        Some(text) if text.len() > MAX_MARK_BYTES => Err(Refusal::TooLong("ref", MAX_MARK_BYTES)),
        mark => Ok(mark),
    }
}

impl Shown {
    fn person(&self) -> Person<'_> {
        Person { id: &self.id, name: &self.name }
    }
}

fn to_room(room: &str, except: Option<&str>, event: &Event<'_>) -> Delivery {
    let to = Recipients::Room { room: room.to_owned(), except: except.map(str::to_owned) };
    Delivery { to, event: encode(event) }
}

fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and numbers always encode").into()
}

#[cfg(test)]
mod tests;
