//! What changes several keys together, or one under the condition of another.
//!
//! In:  who calls, as node and incarnation, and about what.
//! Out: commands, and their answers as values.
//!
//! Each script names the directory's prefix as its only key, for a cluster's sake; all others have
//! the same hash tag. Each is sent whole: they are short, and a server that restarts knows none.
//!
//! Holds always: who has no lease changes nothing, but for taking one. A server whose memory is full
//! (`OOM`) refuses nothing but what [`WRITE`] adds, and then nothing of that script is done: leases are
//! kept and what is no more needed is taken out, so there is room again.

use bytes::Bytes;
use redis::{Cmd, Value};

use super::keys::Keys;
use crate::{ConnectionId, NodeId};

/// Takes or renews a lease, and marks what the directory has of the node. Gives {whether the directory
/// knew the node, the directory's age in ms, its round, all nodes}, or {-1} where the number is
/// another's or has a tombstone.
const HOLD: &str = r"#!lua flags=allow-oom
local p, node, inc, ms, as = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held = redis.call('HGET', p..':nodes', node)
if (held and held ~= inc) or redis.call('EXISTS', p..':fallen:'..node) == 1 then return {-1} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('SET', p..':born', string.format('%d', now), 'NX')
redis.call('SET', p..':lease:'..node, inc, 'PX', ms)
redis.call('HSET', p..':nodes', node, inc)
redis.call('SET', p..':round', 1, 'NX')
if as == 'back' then redis.call('INCR', p..':round') end
local round = redis.call('GET', p..':round')
if as == 'new' or (as == 'whole' and held) then redis.call('HSET', p..':whole', node, round)
elseif as == 'lacking' then redis.call('HSET', p..':whole', node, 0)
else redis.call('HSETNX', p..':whole', node, 0) end
local age = now - redis.call('GET', p..':born')
return {held and 1 or 0, age, tonumber(round), redis.call('HKEYS', p..':nodes')}";

/// Gives {all nodes; how many others have not been whole since a round; the nodes that have members of an
/// audience}, or nothing where the caller is not in the directory. Who has no mark is of a release that
/// made none.
const LOOK_UP: &str = r"
local p, node, inc, audience, since = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('HGET', p..':nodes', node) ~= inc then return {} end
local nodes, late = redis.call('HKEYS', p..':nodes'), 0
local marks = redis.call('HMGET', p..':whole', unpack(nodes))
for i = 1, #nodes do
  if nodes[i] ~= node and marks[i] and tonumber(marks[i]) < since then late = late + 1 end
end
return {nodes, late, redis.call('SMEMBERS', audience)}";

/// Writes interest and facts: counts of audiences that have members, of facts, of audiences that have
/// none, and of facts to forget; then all of these. Gives 0 where the node lives no more. What adds comes
/// first: only a script's first change can be refused.
const WRITE: &str = r"
local p, node, inc = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HGET', p..':nodes', node) ~= inc then return 0 end
local i = 7
for _ = 1, ARGV[3] do
  redis.call('SADD', ARGV[i], node); redis.call('SADD', p..':interest:'..node, ARGV[i]); i = i + 1
end
for _ = 1, ARGV[4] do
  redis.call('HSET', p..':facts:'..node, ARGV[i], ARGV[i + 1]); i = i + 2
end
for _ = 1, ARGV[5] do
  redis.call('SREM', ARGV[i], node); redis.call('SREM', p..':interest:'..node, ARGV[i]); i = i + 1
end
for _ = 1, ARGV[6] do redis.call('HDEL', p..':facts:'..node, ARGV[i]); i = i + 1 end
return 1";

/// Gives {nodes without a lease, and their incarnations; claimed nodes without a living claimer, and the
/// claimer of each; nodes claimed by the caller}.
const SURVEY: &str = r"
local p, me = KEYS[1], ARGV[1]..':'..ARGV[2]
local dead, abandoned, mine = {}, {}, {}
local nodes = redis.call('HGETALL', p..':nodes')
for i = 1, #nodes, 2 do
  if redis.call('EXISTS', p..':lease:'..nodes[i]) == 0 then
    dead[#dead + 1] = nodes[i]; dead[#dead + 1] = nodes[i + 1]
  end
end
local claims = redis.call('HGETALL', p..':claims')
for i = 1, #claims, 2 do
  local by, inc = string.match(claims[i + 1], '^(%x+):(%x+)$')
  if claims[i + 1] == me then mine[#mine + 1] = claims[i]
  elseif not by or redis.call('GET', p..':lease:'..by) ~= inc then
    abandoned[#abandoned + 1] = claims[i]; abandoned[#abandoned + 1] = claims[i + 1]
  end
end
return {dead, abandoned, mine}";

/// Claims a dead node, for good. Gives 1 to one caller only.
const CLAIM: &str = r"#!lua flags=allow-oom
local p, node, inc, dead, dead_inc = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', p..':lease:'..node) ~= inc then return 0 end
if redis.call('HGET', p..':nodes', dead) ~= dead_inc then return 0 end
if redis.call('EXISTS', p..':lease:'..dead) == 1 then return 0 end
redis.call('SET', p..':fallen:'..dead, dead_inc, 'EX', 604800)
redis.call('HDEL', p..':nodes', dead)
redis.call('HDEL', p..':whole', dead)
redis.call('HSET', p..':claims', dead, node..':'..inc)
for from, to in pairs({facts = 'orphans', interest = 'cleaning'}) do
  if redis.call('EXISTS', p..':'..from..':'..dead) == 1 then
    redis.call('RENAME', p..':'..from..':'..dead, p..':'..to..':'..dead)
  end
end
return 1";

/// Takes over what a claimer left that has died as well. Gives 1 to one caller only.
const INHERIT: &str = r"#!lua flags=allow-oom
local p, node, inc, dead, claimer = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('GET', p..':lease:'..node) ~= inc then return 0 end
if redis.call('HGET', p..':claims', dead) ~= claimer then return 0 end
local by, by_inc = string.match(claimer, '^(%x+):(%x+)$')
if by and redis.call('GET', p..':lease:'..by) == by_inc then return 0 end
redis.call('HSET', p..':claims', dead, node..':'..inc)
return 1";

/// Leaves a claim to whoever takes it over. Gives 1 to the claimer only.
const RELEASE: &str = r"#!lua flags=allow-oom
local p, dead = KEYS[1], ARGV[3]
if redis.call('HGET', p..':claims', dead) ~= ARGV[1]..':'..ARGV[2] then return 0 end
redis.call('HSET', p..':claims', dead, 'nobody')
return 1";

/// Takes some of a dead node's interest out, and ends the claim where nothing is left to do. Gives 1 where
/// some is left, 2 where the claim has ended.
const CLEAN: &str = r"#!lua flags=allow-oom
local p, dead = KEYS[1], ARGV[3]
if redis.call('HGET', p..':claims', dead) ~= ARGV[1]..':'..ARGV[2] then return 0 end
for _, audience in ipairs(redis.call('SPOP', p..':cleaning:'..dead, 500)) do
  redis.call('SREM', audience, dead)
end
if redis.call('EXISTS', p..':cleaning:'..dead) == 1 then return 1 end
if redis.call('EXISTS', p..':orphans:'..dead) == 1 then return 0 end
redis.call('HDEL', p..':claims', dead)
return 2";

/// Forgets orphans that are done, if their node is still claimed by the caller.
const FORGET: &str = r"#!lua flags=allow-oom
local p, dead = KEYS[1], ARGV[3]
if redis.call('HGET', p..':claims', dead) ~= ARGV[1]..':'..ARGV[2] then return 0 end
for i = 4, #ARGV do redis.call('HDEL', p..':orphans:'..dead, ARGV[i]) end
return 1";

/// Leaves in order, with a tombstone, for whoever still waits for its answer. Facts that are left make
/// the node one that has died: a survivor claims it.
const LEAVE: &str = r"#!lua flags=allow-oom
local p, node, inc = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HGET', p..':nodes', node) ~= inc then return 0 end
redis.call('DEL', p..':lease:'..node)
if redis.call('EXISTS', p..':facts:'..node) == 1 then return 1 end
redis.call('SET', p..':fallen:'..node, inc, 'EX', 604800)
redis.call('HDEL', p..':nodes', node)
redis.call('HDEL', p..':whole', node)
if redis.call('EXISTS', p..':interest:'..node) == 1 then
  redis.call('RENAME', p..':interest:'..node, p..':cleaning:'..node)
  redis.call('HSET', p..':claims', node, 'nobody')
end
return 2";

/// Writes a tombstone where there is none, for some milliseconds.
const BURY: &str = r"#!lua flags=allow-oom
redis.call('SET', KEYS[1]..':fallen:'..ARGV[3], '', 'PX', ARGV[4], 'NX')
return 1";

/// Who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    pub(super) node: NodeId,
    /// One process, whatever its number; 0 to 2⁶⁴ - 1 at random.
    pub(super) incarnation: u64,
}

impl Caller {
    fn script(self, keys: &Keys, script: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(1).arg(keys.tagged());
        command.arg(self.node.to_string()).arg(format!("{:016x}", self.incarnation));
        command
    }

    pub(super) fn hold(self, keys: &Keys, lease_ms: u128, as_what: Hold) -> Cmd {
        let mut command = self.script(keys, HOLD);
        command.arg(lease_ms.to_string()).arg(match as_what {
            Hold::New => "new",
            Hold::Back => "back",
            Hold::On => "on",
            Hold::Whole => "whole",
            Hold::Lacking => "lacking",
        });
        command
    }

    pub(super) fn look_up(self, keys: &Keys, audience: &[u8], since: u64) -> Cmd {
        let mut command = self.script(keys, LOOK_UP);
        command.arg(audience).arg(since);
        command
    }

    pub(super) fn write(self, keys: &Keys, changes: &Changes) -> Cmd {
        let mut command = self.script(keys, WRITE);
        command.arg(changes.joined.len()).arg(changes.facts.len());
        command.arg(changes.left.len()).arg(changes.forgotten.len());
        for audience in &changes.joined {
            command.arg(audience.as_slice());
        }
        for (id, facts) in &changes.facts {
            command.arg(id.as_str()).arg(facts.as_ref());
        }
        for name in changes.left.iter().chain(&changes.forgotten) {
            command.arg(name.as_slice());
        }
        command
    }

    pub(super) fn survey(self, keys: &Keys) -> Cmd {
        self.script(keys, SURVEY)
    }

    pub(super) fn claim(self, keys: &Keys, dead: &[u8], incarnation: &[u8]) -> Cmd {
        let mut command = self.script(keys, CLAIM);
        command.arg(dead).arg(incarnation);
        command
    }

    pub(super) fn inherit(self, keys: &Keys, dead: &[u8], claimer: &[u8]) -> Cmd {
        let mut command = self.script(keys, INHERIT);
        command.arg(dead).arg(claimer);
        command
    }

    pub(super) fn release(self, keys: &Keys, dead: NodeId) -> Cmd {
        let mut command = self.script(keys, RELEASE);
        command.arg(dead.to_string());
        command
    }

    pub(super) fn clean(self, keys: &Keys, dead: NodeId) -> Cmd {
        let mut command = self.script(keys, CLEAN);
        command.arg(dead.to_string());
        command
    }

    pub(super) fn forget(self, keys: &Keys, dead: NodeId, orphans: &[Vec<u8>]) -> Cmd {
        let mut command = self.script(keys, FORGET);
        command.arg(dead.to_string());
        for id in orphans {
            command.arg(id.as_slice());
        }
        command
    }

    pub(super) fn bury(self, keys: &Keys, fallen: NodeId, for_ms: u128) -> Cmd {
        let mut command = self.script(keys, BURY);
        command.arg(fallen.to_string()).arg(for_ms.max(1).to_string());
        command
    }

    pub(super) fn leave(self, keys: &Keys) -> Cmd {
        self.script(keys, LEAVE)
    }
}

/// What a node says of itself with its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hold {
    /// It has no members: there is nothing that the directory could lack.
    New,
    /// It has a new link. The directory may have lost anything, of any node: a round begins, in which
    /// each has to say anew that it is whole.
    Back,
    /// It has the link still, and has not yet written all that it has.
    On,
    /// It has audiences that the server had no room for.
    Lacking,
    /// It has written all that it has on this link: it is whole in this round. If the directory does
    /// not know the node, it is not.
    Whole,
}

/// Some changes of the directory.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) joined: Vec<Vec<u8>>,
    pub(super) left: Vec<Vec<u8>>,
    pub(super) facts: Vec<(ConnectionId, Bytes)>,
    pub(super) forgotten: Vec<Vec<u8>>,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.joined.len() + self.left.len() + self.facts.len() + self.forgotten.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What of it adds something; and what takes something out, which no server is too full for.
    pub(super) fn split(self) -> (Self, Self) {
        let Self { joined, left, facts, forgotten } = self;
        let additions = Self { joined, facts, ..Self::default() };
        (additions, Self { left, forgotten, ..Self::default() })
    }
}

/// A script's answer, as a number.
pub(super) fn number(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        _ => 0,
    }
}

/// The items of a list, a set or a map (its keys and values in turn); of anything else none.
pub(super) fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

/// The texts among a value's items.
pub(super) fn texts(value: Value) -> Vec<Vec<u8>> {
    let text = |item| match item {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    };
    listed(value).into_iter().filter_map(text).collect()
}

/// A node's number, as keys have it.
pub(super) fn node(text: &[u8]) -> Option<NodeId> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 6)?;
    NodeId::new(u32::from_str_radix(text, 16).ok()?)
}
