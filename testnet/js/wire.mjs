// The wire of /hearth/app/1.0.0: protobuf messages of protocol/pb/hearth.proto,
// as far as an app needs them, each after its length (an unsigned varint). It is
// written from protocol/DESIGN.md and hearth.proto alone, without a compiler for
// protobuf: what an app needs of that encoding is a hundred lines.

export const PROTOCOL = '/hearth/app/1.0.0'
export const MAX_MESSAGE = 64 * 1024
export const MAX_RAW = 256 * 1024

export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2 }

const STATES = ['none', 'accepted', 'placing', 'pulling', 'starting', 'running',
  'succeeded', 'failed', 'refused', 'cancelled', 'timed_out', 'lost', 'unknown']

const CODES = ['none', 'invalid', 'unauthorized', 'no_node', 'unknown_node', 'constraint', 'resources', 'busy',
  'policy', 'image_not_found', 'image_platform', 'pull_failed', 'engine_down', 'start_failed', 'node_lost', 'leaving',
  'conflict', 'not_found', 'timeout', 'cancelled', 'overloaded', 'disk_full', 'internal']

// ended tells whether a state is an end; nothing follows the event that says so.
export const ended = state => STATES.indexOf(state) >= STATES.indexOf('succeeded')

// Each message: its fields by number, as [name, type]. A type in brackets is
// repeated; a name with a capital is a message; the rest is in scalars below.
const messages = {
  AppRequest: { 1: ['token', 'string'], 2: ['run', 'Run'], 3: ['devices', 'Devices'], 5: ['requests', 'Requests'], 7: ['manage', 'Manage'] },
  Manage: { 1: ['drain', 'Drain'], 2: ['down', 'Empty'], 3: ['status', 'Devices'] },
  Drain: { 1: ['off', 'bool'] },
  Run: { 1: ['request', 'string'], 2: ['service', 'Service'], 3: ['detach', 'bool'] },
  Service: {
    1: ['image', 'string'], 2: ['args', '[string]'], 3: ['entrypoint', 'string'], 4: ['env', '[string]'],
    5: ['workDir', 'string'], 6: ['user', 'string'], 7: ['cpus', 'double'], 8: ['memory', 'uint'], 9: ['stdin', 'bool'],
    10: ['timeout', 'uint'], 11: ['node', 'string'], 12: ['labels', '[Label]'], 13: ['notHere', 'bool'], 14: ['tty', 'bool'],
    15: ['network', 'string'], 16: ['mounts', '[Mount]'], 17: ['devices', '[string]'], 18: ['capabilities', '[string]'],
    19: ['accelerator', 'string'], 20: ['retry', 'uint'], 21: ['noEntrypoint', 'bool'], 24: ['tmpfs', '[Tmpfs]'],
    25: ['readOnlyRoot', 'bool'], 26: ['shmSize', 'uint'], 27: ['hostname', 'string'], 28: ['pull', 'string'],
    29: ['ttyRows', 'uint'], 30: ['ttyColumns', 'uint']
  },
  Mount: { 1: ['source', 'string'], 2: ['target', 'string'], 3: ['writable', 'bool'] },
  Tmpfs: { 1: ['target', 'string'], 2: ['size', 'uint'], 3: ['mode', 'uint'], 4: ['exec', 'bool'] },
  Label: { 1: ['key', 'string'], 2: ['value', 'string'] }, // an entry of a map
  Devices: { 1: ['watch', 'bool'] },
  Requests: { 1: ['attach', 'Attach'], 2: ['stop', 'StopRequest'], 3: ['list', 'List'], 4: ['inspect', 'Inspect'], 5: ['watch', 'Empty'] },
  Attach: { 1: ['request', 'string'], 3: ['stdout', 'uint'], 4: ['stderr', 'uint'], 5: ['noFollow', 'bool'], 6: ['noOutput', 'bool'] },
  StopRequest: { 1: ['request', 'string'], 2: ['signal', 'string'], 3: ['grace', 'uint'], 4: ['signalOnly', 'bool'] },
  List: { 1: ['all', 'bool'] },
  Inspect: { 1: ['request', 'string'] },
  Empty: {},

  Answer: { 1: ['accepted', 'Empty'], 2: ['refusal', 'Failure'], 3: ['error', 'Failure'] },
  Failure: { 1: ['code', 'code'], 2: ['message', 'string'] },

  Wish: { 1: ['input', 'Data'], 2: ['closeInput', 'Empty'], 3: ['stop', 'Stop'], 4: ['signal', 'Signal'], 5: ['resize', 'Resize'] },
  Stop: { 1: ['grace', 'uint'] },
  Signal: { 1: ['name', 'string'] },
  Resize: { 1: ['rows', 'uint'], 2: ['columns', 'uint'] },
  Data: { 1: ['channel', 'uint'], 2: ['length', 'uint'], 3: ['offset', 'uint'], 4: ['cut', 'uint'], 5: ['at', 'nanoseconds'] },
  Update: {
    1: ['event', 'Event'], 2: ['output', 'Data'], 4: ['credit', 'Credit'], 5: ['inputClosed', 'Empty'],
    6: ['error', 'Failure'], 7: ['complete', 'Empty']
  },
  Credit: { 1: ['bytes', 'uint'] },
  Event: {
    1: ['request', 'string'], 2: ['attempt', 'uint'], 3: ['state', 'state'], 4: ['node', 'string'], 5: ['nodeName', 'string'],
    6: ['at', 'nanoseconds'], 7: ['code', 'code'], 8: ['reason', 'string'], 9: ['exitCode', 'sint'],
    10: ['queuePlace', 'uint'], 12: ['container', 'string']
  },

  RequestsItem: { 1: ['info', 'RequestInfo'], 2: ['service', 'Service'], 3: ['event', 'Event'], 5: ['complete', 'Empty'], 6: ['error', 'Failure'] },
  RequestInfo: {
    1: ['request', 'string'], 2: ['orchestrator', 'string'], 3: ['orchestratorName', 'string'], 4: ['image', 'string'],
    5: ['args', '[string]'], 6: ['detached', 'bool'], 7: ['last', 'Event'], 8: ['accepted', 'milliseconds'],
    9: ['started', 'milliseconds'], 10: ['ended', 'milliseconds']
  },
  DevicesItem: { 1: ['device', 'Device'], 2: ['complete', 'Empty'], 3: ['error', 'Failure'] },
  Device: { 1: ['score', 'Score'], 2: ['self', 'bool'], 4: ['address', 'string'] },
  Score: { 1: ['node', 'string'], 2: ['name', 'string'], 5: ['role', 'uint'], 6: ['rating', 'double'], 10: ['slots', 'uint'], 29: ['draining', 'bool'] },
  StatusItem: { 1: ['info', 'DeviceInfo'], 2: ['complete', 'Empty'], 3: ['error', 'Failure'] },
  DeviceInfo: {
    1: ['node', 'string'], 2: ['name', 'string'], 3: ['fingerprint', 'string'], 4: ['version', 'string'], 5: ['uptime', 'uint'],
    6: ['peers', 'uint'], 7: ['engine', 'string'], 8: ['noEngine', 'string'], 9: ['running', 'uint'], 10: ['queued', 'uint'], 11: ['draining', 'bool']
  }
}

// What each scalar is on the wire (0: a varint, 1: 8 bytes, 2: length and bytes),
// what is there when it is absent, and its two directions.
const utf8 = new TextDecoder('utf-8', { fatal: true })
const scalars = {
  string: { wire: 2, zero: '', to: s => new TextEncoder().encode(s), from: b => utf8.decode(b) },
  double: { wire: 1, zero: 0 },
  bool: { wire: 0, zero: false, to: b => b ? 1n : 0n, from: v => v !== 0n },
  uint: { wire: 0, zero: 0, to: BigInt, from: Number },
  sint: { wire: 0, zero: 0, to: n => BigInt.asUintN(64, (BigInt(n) << 1n) ^ (BigInt(n) >> 63n)), from: v => Number((v >> 1n) ^ -(v & 1n)) },
  state: { wire: 0, zero: 'none', from: stateName },
  code: { wire: 0, zero: 'none', from: v => CODES[Number(v)] ?? 'internal' },
  nanoseconds: { wire: 0, zero: undefined, from: v => new Date(Number(BigInt.asIntN(64, v) / 1000000n)) },
  milliseconds: { wire: 0, zero: undefined, from: v => new Date(Number(BigInt.asIntN(64, v))) }
}

// A state that is not known could be an end: it must not be passed over.
function stateName (v) {
  const name = STATES[Number(v)]
  if (name === undefined) throw new Error(`the device speaks of a state, ${v}, that is not known here`)
  return name
}

// encode makes the bytes of a message; fields that are undefined are left out.
export function encode (type, value) {
  const parts = []
  for (const [number, [name, kind]] of Object.entries(messages[type])) {
    const repeated = kind.startsWith('[')
    for (const v of repeated ? value[name] ?? [] : [value[name]]) {
      if (v === undefined) continue
      const inner = repeated ? kind.slice(1, -1) : kind
      parts.push(field(Number(number), inner, v))
    }
  }
  return concat(parts)
}

function field (number, kind, v) {
  const scalar = scalars[kind]
  const wire = scalar?.wire ?? 2
  const tag = varint(BigInt(number << 3 | wire))
  if (kind === 'double') {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setFloat64(0, v, true)
    return concat([tag, bytes])
  }
  if (wire === 0) return concat([tag, varint(scalar.to(v))])
  const bytes = scalar !== undefined ? scalar.to(v) : encode(kind, v)
  return concat([tag, varint(BigInt(bytes.length)), bytes])
}

// decode reads a message. Every field of a scalar type is there, with its zero
// value where it is absent; fields that are not known are passed over.
export function decode (type, bytes) {
  const out = {}
  const fields = messages[type]
  for (const [name, kind] of Object.values(fields)) {
    if (kind.startsWith('[')) out[name] = []
    else if (scalars[kind] !== undefined) out[name] = scalars[kind].zero
  }
  const at = { bytes, pos: 0 }
  while (at.pos < bytes.length) {
    const tag = Number(readVarint(at))
    const raw = readField(at, tag & 7)
    const known = fields[tag >>> 3]
    if (known === undefined) continue
    const [name, kind] = known
    const repeated = kind.startsWith('[')
    const value = parse(repeated ? kind.slice(1, -1) : kind, tag & 7, raw)
    if (repeated) out[name].push(value)
    else out[name] = value
  }
  return out
}

function parse (kind, wire, raw) {
  const scalar = scalars[kind]
  if (wire !== (scalar?.wire ?? 2)) throw new Error(`a field of type ${kind} has wire type ${wire}`)
  if (kind === 'double') return new DataView(raw.buffer, raw.byteOffset, 8).getFloat64(0, true)
  return scalar !== undefined ? scalar.from(raw) : decode(kind, raw)
}

function readField (at, wire) {
  if (wire === 0) return readVarint(at)
  const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? Number(readVarint(at)) : NaN
  const end = at.pos + length
  if (!(end <= at.bytes.length)) throw new Error('a message is cut short or malformed')
  const raw = at.bytes.subarray(at.pos, end)
  at.pos = end
  return raw
}

function readVarint (at) {
  let v = 0n
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (at.pos >= at.bytes.length) break
    const b = at.bytes[at.pos++]
    v |= BigInt(b & 0x7f) << shift
    if (b < 0x80) return BigInt.asUintN(64, v)
  }
  throw new Error('a number is cut short or too long')
}

function varint (v) {
  const bytes = []
  for (; v >= 0x80n; v >>= 7n) bytes.push(Number(v & 0x7fn) | 0x80)
  bytes.push(Number(v))
  return Uint8Array.from(bytes)
}

// frame puts the length before a message, and raw bytes behind it.
export function frame (type, value, raw = new Uint8Array(0)) {
  const message = encode(type, value)
  if (message.length > MAX_MESSAGE) throw new Error(`the message has ${message.length} bytes, at most ${MAX_MESSAGE} are allowed`)
  return concat([varint(BigInt(message.length)), message, raw])
}

export function concat (parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let pos = 0
  for (const p of parts) {
    out.set(p, pos)
    pos += p.length
  }
  return out
}
