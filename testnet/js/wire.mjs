// The wire of /hearth/app/1.0.0: the protobuf messages of schema.mjs, each after
// its length (an unsigned varint). It is written from protocol/DESIGN.md, without a
// compiler for protobuf: what an app needs of that encoding is two hundred lines.

import { enums, messages } from './schema.mjs'

export const PROTOCOL = '/hearth/app/1.0.0'
export const MAX_MESSAGE = 64 * 1024
export const MAX_RAW = 256 * 1024

// The words of an enum, and their numbers.
const numbers = Object.fromEntries(Object.entries(enums).map(([type, words]) =>
  [type, Object.fromEntries(Object.entries(words).map(([number, word]) => [word, Number(number)]))]))

// ended tells whether a state is an end; nothing follows the event that says so.
export const ended = state => numbers.State[state] >= numbers.State.succeeded

// What each scalar is on the wire (0: a varint, 1: 8 bytes, 2: length and bytes,
// 5: 4 bytes), what is there when it is absent, and its two directions.
const utf8 = new TextDecoder('utf-8', { fatal: true })
const scalars = {
  string: { wire: 2, zero: '', to: s => new TextEncoder().encode(s), from: b => utf8.decode(b) },
  bytes: { wire: 2, zero: new Uint8Array(0), to: b => b, from: b => b.slice() },
  double: { wire: 1, zero: 0, to: v => number(8, 'setFloat64', v), from: b => view(b).getFloat64(0, true) },
  fixed32: { wire: 5, zero: 0, to: v => number(4, 'setUint32', v), from: b => view(b).getUint32(0, true) },
  bool: { wire: 0, zero: false, to: b => b ? 1n : 0n, from: v => v !== 0n },
  uint: { wire: 0, zero: 0, to: BigInt, from: Number },
  sint: { wire: 0, zero: 0, to: n => BigInt.asUintN(64, (BigInt(n) << 1n) ^ (BigInt(n) >> 63n)), from: v => Number((v >> 1n) ^ -(v & 1n)) },
  nanoseconds: { wire: 0, zero: undefined, to: d => BigInt(d.getTime()) * 1000000n, from: v => new Date(Number(BigInt.asIntN(64, v) / 1000000n)) },
  milliseconds: { wire: 0, zero: undefined, to: d => BigInt(d.getTime()), from: v => new Date(Number(BigInt.asIntN(64, v))) }
}
for (const type of Object.keys(enums)) {
  scalars[type] = { wire: 0, zero: enums[type][0], to: w => BigInt(numbers[type][w]), from: v => word(type, v) }
}

const view = bytes => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

function number (size, set, v) {
  const bytes = new Uint8Array(size)
  view(bytes)[set](0, v, true)
  return bytes
}

// word returns the name of a number. A code that is not known is an internal one.
// A state that is not known could be an end: it must not be passed over.
function word (type, v) {
  const name = enums[type][Number(v)]
  if (name !== undefined) return name
  if (type === 'Code') return 'internal'
  throw new Error(`the device speaks of a ${type}, ${v}, that is not known here`)
}

// Of a type: what one of its values is, and whether there may be several.
const inner = kind => /^[[{]/.test(kind) ? kind.slice(1, -1) : kind
const isList = kind => kind[0] === '['
const isMap = kind => kind[0] === '{'

// encode makes the bytes of a message; fields that are undefined are left out.
export function encode (type, value) {
  const parts = []
  for (const [id, [name, kind]] of Object.entries(messages[type])) {
    const v = value[name]
    if (v === undefined) continue
    if (isMap(kind)) {
      for (const [k, e] of Object.entries(v)) parts.push(field(id, undefined, concat([field(1, 'string', k), field(2, inner(kind), e)])))
    } else {
      for (const e of isList(kind) ? v : [v]) parts.push(field(id, inner(kind), e))
    }
  }
  return concat(parts)
}

// field makes the bytes of one; without a kind v is them already.
function field (id, kind, v) {
  const scalar = scalars[kind]
  const wire = scalar?.wire ?? 2
  const tag = varint(BigInt(Number(id) << 3 | wire))
  if (wire === 0) return concat([tag, varint(scalar.to(v))])
  const bytes = scalar !== undefined ? scalar.to(v) : kind === undefined ? v : encode(kind, v)
  return concat(wire === 2 ? [tag, varint(BigInt(bytes.length)), bytes] : [tag, bytes])
}

// decode reads a message. Every field of a scalar type is there, with its zero
// value where it is absent; fields that are not known are passed over.
export function decode (type, bytes) {
  const out = {}
  const fields = messages[type]
  for (const [name, kind] of Object.values(fields)) {
    if (isList(kind)) out[name] = []
    else if (isMap(kind)) out[name] = {}
    else if (scalars[kind] !== undefined) out[name] = scalars[kind].zero
  }
  const at = { bytes, pos: 0 }
  while (at.pos < bytes.length) {
    const tag = Number(readVarint(at))
    const raw = readField(at, tag & 7)
    const known = fields[tag >>> 3]
    if (known === undefined) continue
    const [name, kind] = known
    if (isMap(kind)) {
      const [key, value] = entry(inner(kind), raw)
      out[name][key] = value
    } else if (isList(kind)) out[name].push(...parseAll(inner(kind), tag & 7, raw))
    else out[name] = parse(kind, tag & 7, raw)
  }
  return out
}

function parse (kind, wire, raw) {
  const scalar = scalars[kind]
  if (wire !== (scalar?.wire ?? 2)) throw new Error(`a field of type ${kind} has wire type ${wire}`)
  return scalar !== undefined ? scalar.from(raw) : decode(kind, raw)
}

// parseAll reads what a repeated field holds: numbers may come packed, several in
// one field.
function parseAll (kind, wire, raw) {
  const own = scalars[kind]?.wire ?? 2
  if (wire !== 2 || own === 2) return [parse(kind, wire, raw)]
  const found = []
  for (const at = { bytes: raw, pos: 0 }; at.pos < raw.length;) found.push(parse(kind, own, readField(at, own)))
  return found
}

// entry reads an entry of a map.
function entry (kind, raw) {
  let key = ''
  let value = scalars[kind].zero
  for (const at = { bytes: raw, pos: 0 }; at.pos < raw.length;) {
    const tag = Number(readVarint(at))
    const part = readField(at, tag & 7)
    if (tag >>> 3 === 1) key = parse('string', tag & 7, part)
    if (tag >>> 3 === 2) value = parse(kind, tag & 7, part)
  }
  return [key, value]
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

// The most that a service takes within another message.
const MAX_INLINE = 48 * 1024

// The last field of Service that the first devices knew, and the later ones that may
// be overlooked: tags, and the terminal's size.
const LAST_OF_FIRST = 20
const MAY_BE_MISSED = ['22', '29', '30']

// detach splits a verb with a service in two: what goes into the first frame, and the
// encoded service where it follows that frame. Within stays what is small and what
// every device knows: one that does not know a field would run something else.
export function detach ({ service, ...verb }) {
  const knownByAll = Object.entries(messages.Service).every(([id, [name]]) =>
    service[name] === undefined || Number(id) <= LAST_OF_FIRST || MAY_BE_MISSED.includes(id))
  const raw = encode('Service', service)
  if (knownByAll && raw.length <= MAX_INLINE) return { verb: { service, ...verb } }
  return { verb: { serviceLength: raw.length, ...verb }, raw }
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
