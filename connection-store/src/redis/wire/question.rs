//! What a node asks another.

use super::{reader::Reader, writer::Writer};
use crate::{
    Audience, CallName, CloseRequest, ConnectionId, ConnectionList, GroupName, Message,
    MessageKind, PageLimit, Scope,
};

/// A call, as the node that owns the connections has to make it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Question {
    Post {
        scope: Scope,
        id: ConnectionId,
        message: Message,
        call: Option<CallName>,
    },
    Describe {
        scope: Scope,
        id: ConnectionId,
    },
    Close {
        scope: Scope,
        id: ConnectionId,
        request: CloseRequest,
    },
    Join {
        scope: Scope,
        id: ConnectionId,
        group: GroupName,
    },
    Leave {
        scope: Scope,
        id: ConnectionId,
        group: GroupName,
    },
    Send {
        scope: Scope,
        audience: Audience,
        message: Message,
        except: Vec<ConnectionId>,
        /// Each node makes a call of that name once.
        call: Option<CallName>,
    },
    CloseAudience {
        scope: Scope,
        audience: Audience,
        request: CloseRequest,
    },
    Count {
        scope: Scope,
        group: GroupName,
    },
    /// A page of a group's members, or of the stage's connections.
    Page {
        scope: Scope,
        group: Option<GroupName>,
        limit: PageLimit,
        place: u32,
    },
    /// From a node to itself.
    Probe,
}

const POST: u8 = 1;
const DESCRIBE: u8 = 2;
const CLOSE: u8 = 3;
const JOIN: u8 = 4;
const LEAVE: u8 = 5;
const SEND: u8 = 6;
const CLOSE_AUDIENCE: u8 = 7;
const COUNT: u8 = 8;
const PAGE: u8 = 9;
const PROBE: u8 = 10;

impl Question {
    pub(super) fn write(&self, out: &mut Writer) {
        match self {
            Self::Post { scope, id, message, call } => {
                out.u8(POST);
                out.scope(scope);
                out.id(*id);
                write_message(out, message);
                write_call(out, call.as_ref());
            }
            Self::Describe { scope, id } => {
                out.u8(DESCRIBE);
                out.scope(scope);
                out.id(*id);
            }
            Self::Close { scope, id, request } => {
                out.u8(CLOSE);
                out.scope(scope);
                out.id(*id);
                write_request(out, request);
            }
            Self::Join { scope, id, group } => {
                out.u8(JOIN);
                out.scope(scope);
                out.id(*id);
                out.short(group.as_str().as_bytes());
            }
            Self::Leave { scope, id, group } => {
                out.u8(LEAVE);
                out.scope(scope);
                out.id(*id);
                out.short(group.as_str().as_bytes());
            }
            Self::Send { scope, audience, message, except, call } => {
                out.u8(SEND);
                out.scope(scope);
                write_audience(out, audience);
                write_message(out, message);
                out.ids(except);
                write_call(out, call.as_ref());
            }
            Self::CloseAudience { scope, audience, request } => {
                out.u8(CLOSE_AUDIENCE);
                out.scope(scope);
                write_audience(out, audience);
                write_request(out, request);
            }
            Self::Count { scope, group } => {
                out.u8(COUNT);
                out.scope(scope);
                out.short(group.as_str().as_bytes());
            }
            Self::Page { scope, group, limit, place } => {
                out.u8(PAGE);
                out.scope(scope);
                // No group has the empty name.
                out.short(group.as_ref().map_or(&[], |group| group.as_str().as_bytes()));
                out.u16(u16::try_from(limit.get()).unwrap_or(PageLimit::MAX));
                out.u32(*place);
            }
            Self::Probe => out.u8(PROBE),
        }
    }

    pub(super) fn read(kind: u8, input: &mut Reader) -> Option<Self> {
        if kind == PROBE {
            return Some(Self::Probe);
        }
        let scope = input.scope()?;
        Some(match kind {
            POST => Self::Post {
                scope,
                id: input.id()?,
                message: read_message(input)?,
                call: read_call(input)?,
            },
            DESCRIBE => Self::Describe { scope, id: input.id()? },
            CLOSE => Self::Close { scope, id: input.id()?, request: read_request(input)? },
            JOIN => Self::Join { scope, id: input.id()?, group: read_group(input)? },
            LEAVE => Self::Leave { scope, id: input.id()?, group: read_group(input)? },
            SEND => Self::Send {
                scope,
                audience: read_audience(input)?,
                message: read_message(input)?,
                except: input.ids()?,
                call: read_call(input)?,
            },
            CLOSE_AUDIENCE => Self::CloseAudience {
                scope,
                audience: read_audience(input)?,
                request: read_request(input)?,
            },
            COUNT => Self::Count { scope, group: read_group(input)? },
            PAGE => Self::Page {
                scope,
                group: match input.short_text()? {
                    none if none.is_empty() => None,
                    name => Some(name.parse().ok()?),
                },
                limit: PageLimit::new(input.u16()?)?,
                place: input.u32()?,
            },
            _ => return None,
        })
    }
}

/// No call has the empty name.
fn write_call(out: &mut Writer, call: Option<&CallName>) {
    out.short(call.map_or(&[], CallName::as_bytes));
}

fn read_call(input: &mut Reader) -> Option<Option<CallName>> {
    Some(match input.short()? {
        none if none.is_empty() => None,
        call => Some(CallName::new(&call)?),
    })
}

fn write_message(out: &mut Writer, message: &Message) {
    out.u8(match message.kind {
        MessageKind::Text => 0,
        MessageKind::Binary => 1,
    });
    out.long(&message.payload);
}

/// A text that is none would close whoever gets it (RFC 6455, 8.1).
fn read_message(input: &mut Reader) -> Option<Message> {
    let kind = match input.u8()? {
        0 => MessageKind::Text,
        1 => MessageKind::Binary,
        _ => return None,
    };
    let payload = input.long()?;
    let fits = kind == MessageKind::Binary || std::str::from_utf8(&payload).is_ok();
    fits.then_some(Message { kind, payload })
}

fn write_request(out: &mut Writer, request: &CloseRequest) {
    out.u16(request.code);
    out.short(request.reason.as_bytes());
}

/// A close frame holds 123 bytes of reason, and codes from 1000 on (RFC 6455, 5.5 and 7.4).
fn read_request(input: &mut Reader) -> Option<CloseRequest> {
    let code = input.u16().filter(|code| (1000..5000).contains(code))?;
    let reason = input.short_text().filter(|reason| reason.len() <= 123)?;
    Some(CloseRequest { code, reason })
}

fn read_group(input: &mut Reader) -> Option<GroupName> {
    input.short_text()?.parse().ok()
}

fn write_audience(out: &mut Writer, audience: &Audience) {
    match audience {
        Audience::Group(group) => {
            out.u8(0);
            out.short(group.as_str().as_bytes());
        }
        Audience::User(principal) => {
            out.u8(1);
            out.long(principal.as_bytes());
        }
        Audience::Stage => out.u8(2),
        Audience::Connections(list) => {
            out.u8(3);
            out.ids(list.as_slice());
        }
    }
}

fn read_audience(input: &mut Reader) -> Option<Audience> {
    Some(match input.u8()? {
        0 => Audience::Group(read_group(input)?),
        1 => Audience::User(String::from_utf8(input.long()?.into()).ok()?.into()),
        2 => Audience::Stage,
        3 => Audience::Connections(ConnectionList::new(input.ids()?).ok()?),
        _ => return None,
    })
}
