// Peer-to-peer connections to the other players of the match: pointers and reactions go there.
//
// In:  who is here, and signals that came through the gateway. Out: signals to send, messages of
//      peers, and how each connection is: "connecting", "open" or "none".
//
// Holds always: of two players the one with the lesser id offers; each try has a `link` of its own,
// and signals of another link are dropped; whatever fails here, the game goes on without it.

/** Hosts on one machine or in one network find each other; for more, put a STUN and a TURN server here. */
const ICE_SERVERS = [];
const OPEN_WITHIN_MS = 12_000;
const TRIES = 3;
const LONGEST_MESSAGE = 1_000;

export class Peers {
  #me = null;
  #peers = new Map(); // by player: { visit, link, pc, channel, state, tries, timer, early, chain }
  #signal;
  #on;

  /**
   * @param {(kind, to, link, data) => Promise} signal through the gateway; rejects where the peer is lost
   * @param {{message(from, data), state(states: Map)}} on
   */
  constructor(signal, on) {
    this.#signal = signal;
    this.#on = on;
  }

  /** The players to be connected to; `me` is null where one only watches. */
  update(me, players) {
    if (me !== this.#me) this.#closeAll();
    this.#me = me;
    const wanted = me === null ? [] : players.filter((player) => player.id !== me && player.here);
    for (const id of [...this.#peers.keys()]) if (!wanted.some((player) => player.id === id)) this.#forget(id);
    for (const { id, visit } of wanted) {
      const known = this.#peers.get(id);
      if (known?.visit === visit) continue;
      // A page that was loaded anew knows nothing of the connection that there was.
      this.#add(id, visit, null);
      if (me < id) this.#offer(id);
      else this.#expect(id);
    }
    this.#tell();
  }

  #add(id, visit, link) {
    this.#forget(id);
    this.#peers.set(id, { visit, link, pc: null, channel: null, state: "connecting", tries: 0, timer: 0, early: [], chain: Promise.resolve() });
  }

  /** A signal that came through the gateway, and which load of the peer's page it is from. */
  receive({ type: kind, from, visit, link, data }) {
    if (this.#me === null || !supported()) return;
    if (kind === "offer") {
      if (this.#me < from) return; // this side offers
      this.#add(from, visit, link);
      if (!this.#make(from, link)) return;
      this.#expect(from);
    }
    const peer = this.#peers.get(from);
    if (!peer?.pc || peer.link !== link) return;
    // One after the other: a candidate is of no use before the description that it belongs to.
    peer.chain = peer.chain.then(() => this.#take(from, peer, kind, data)).catch(() => this.#failed(from, peer));
  }

  async #take(id, peer, kind, data) {
    const { pc } = peer;
    if (kind === "candidate") {
      if (pc.remoteDescription) await pc.addIceCandidate(data);
      else peer.early.push(data);
      return;
    }
    await pc.setRemoteDescription({ type: kind, sdp: data.sdp });
    for (const candidate of peer.early.splice(0)) await pc.addIceCandidate(candidate);
    if (kind !== "offer") return;
    await pc.setLocalDescription();
    await this.#signal("answer", id, peer.link, { sdp: pc.localDescription.sdp });
  }

  /** To every peer there is a connection to. */
  send(message) {
    const text = JSON.stringify(message);
    for (const { channel } of this.#peers.values()) if (channel?.readyState === "open") channel.send(text);
  }

  async #offer(id) {
    const peer = this.#peers.get(id);
    peer.tries++;
    peer.link = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
    if (!this.#make(id, peer.link)) return;
    this.#expect(id);
    const { pc } = peer;
    try {
      await pc.setLocalDescription();
      await this.#signal("offer", id, peer.link, { sdp: pc.localDescription.sdp });
    } catch {
      if (peer.pc === pc) this.#failed(id, peer);
    }
  }

  /** A connection object for the peer's link, or false where the browser has none. */
  #make(id, link) {
    const peer = this.#peers.get(id);
    let pc;
    try {
      pc = new RTCPeerConnection({ iceServers: ICE_SERVERS });
      // Negotiated: both sides make it, nobody waits for the other to announce it.
      peer.channel = pc.createDataChannel("reef", { negotiated: true, id: 0 });
    } catch {
      peer.state = "none";
      this.#tell();
      return false;
    }
    peer.pc = pc;
    pc.onicecandidate = ({ candidate }) => {
      if (candidate) this.#signal("candidate", id, link, candidate.toJSON()).catch(() => {}); // the deadline sees to it
    };
    pc.onconnectionstatechange = () => {
      if (peer.pc === pc && ["failed", "closed"].includes(pc.connectionState)) this.#failed(id, peer);
    };
    peer.channel.onopen = () => {
      clearTimeout(peer.timer);
      peer.state = "open";
      peer.tries = 0;
      this.#tell();
    };
    peer.channel.onclose = () => { if (peer.pc === pc) this.#failed(id, peer); };
    peer.channel.onmessage = ({ data }) => {
      if (typeof data !== "string" || data.length > LONGEST_MESSAGE) return;
      let message;
      try { message = JSON.parse(data); } catch { return; }
      if (message !== null && typeof message === "object") this.#on.message(id, message);
    };
    return true;
  }

  #expect(id) {
    const peer = this.#peers.get(id);
    clearTimeout(peer.timer);
    peer.timer = setTimeout(() => this.#failed(id, peer), OPEN_WITHIN_MS);
  }

  /** Tries again where it is this side's to offer, and otherwise waits for the other's offer. */
  #failed(id, peer) {
    if (this.#peers.get(id) !== peer) return;
    close(peer);
    peer.state = "none";
    if (this.#me < id && peer.tries < TRIES && supported()) {
      peer.state = "connecting";
      peer.timer = setTimeout(() => { if (this.#peers.get(id) === peer) this.#offer(id); }, 1_000 * peer.tries);
    }
    this.#tell();
  }

  #forget(id) {
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#peers.delete(id);
    close(peer);
  }

  #closeAll() {
    for (const id of [...this.#peers.keys()]) this.#forget(id);
  }

  #tell() {
    this.#on.state(new Map([...this.#peers].map(([id, { state }]) => [id, state])));
  }
}

const supported = () => typeof RTCPeerConnection === "function";

function close(peer) {
  clearTimeout(peer.timer);
  const { pc } = peer;
  peer.pc = peer.channel = null;
  peer.early = [];
  pc?.close();
}
