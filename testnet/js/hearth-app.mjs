// A client for the device that this app runs on, on stock js-libp2p.
//
//   const hearth = await connect('/var/lib/hearth')
//   const run = await hearth.run({ image: 'busybox', args: ['wc', '-c'], stdin: true })
//   await run.write('some text')
//   await run.endInput()
//   const { exitCode, stdout } = await run.result()
//   await hearth.close()
//
// What is asked for and what is answered have the names of hearth.proto in
// camelCase; states and codes are words; times are Date; durations are in
// milliseconds. Every failure that the device tells is a HearthError with a code.

import './node20.mjs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { Conversation } from './conversation.mjs'
import { MAX_RAW, PROTOCOL, detach as detached, ended } from './wire.mjs'

// How many bytes of input may be on their way at the start.
const FIRST_CREDIT = 256 * 1024
const MAX_STREAMS = 1000

// HearthError is a failure in the words of the device.
export class HearthError extends Error {
  constructor ({ code, message, reason }) {
    super(message || reason || code)
    this.name = 'HearthError'
    this.code = code
  }
}

// connect connects to the device whose state is in the folder: app.json says
// where it is and which peer it is, the token proves that we may.
export async function connect (stateDir) {
  let info, token
  try {
    info = JSON.parse(await readFile(join(stateDir, 'app.json'), 'utf8'))
    token = (await readFile(join(stateDir, 'token'), 'utf8')).trim()
  } catch (err) {
    if (err.code !== 'ENOENT') throw err
    throw new Error(`no device is running with its state in ${stateDir}; start it with 'hearth up'`, { cause: err })
  }
  const address = info.addresses.find(a => a.startsWith('/ip4/'))
  const libp2p = await createLibp2p({
    // An app may have nothing to say for hours: silence is no reason to hang up.
    transports: [tcp({ outboundSocketInactivityTimeout: 0 })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ enableKeepAlive: false, maxStreamWindowSize: 1024 * 1024 })],
    connectionMonitor: { enabled: false }
  })
  try {
    const connection = await libp2p.dial(multiaddr(address))
    return new Hearth(libp2p, connection, token)
  } catch (err) {
    await libp2p.stop()
    throw new Error(`the device at ${address} does not answer`, { cause: err })
  }
}

class Hearth {
  #libp2p
  #connection
  #token

  constructor (libp2p, connection, token) {
    this.#libp2p = libp2p
    this.#connection = connection
    this.#token = token
  }

  // run asks for a container and returns once it is accepted. An id makes a
  // repeated run harmless. Unless detached it ends when this app leaves.
  async run (service, { id, detach } = {}) {
    const { verb, raw } = detached({ request: id, service: asked(service), detach })
    return new Session(await this.#ask({ run: verb }, raw))
  }

  // plan tells where a service would go now, and why; nothing is run.
  async plan (service) {
    const decision = { candidates: [] }
    const { verb, raw } = detached({ service: asked(service) })
    for await (const { decision: part } of this.#items('RequestsItem', { plan: verb }, raw)) {
      if (part !== undefined) Object.assign(decision, part, { candidates: [...decision.candidates, ...part.candidates] })
    }
    return decision
  }

  // attach takes part in a request: its output from a position on, or of the last
  // ms, and its end.
  async attach (request, { stdout, stderr, noFollow, noOutput, since } = {}) {
    return new Session(await this.#ask({ requests: { attach: { request, stdout, stderr, noFollow, noOutput, since: nanoseconds(since) } } }))
  }

  // stop asks a request to end, and kills it after grace ms.
  async stop (request, { signal, grace = 10_000, signalOnly } = {}) {
    const c = await this.#ask({ requests: { stop: { request, signal, grace: nanoseconds(grace), signalOnly } } })
    await c.close()
  }

  // remove has a request forgotten that has ended; with force it is killed first.
  async remove (request, { force } = {}) {
    const c = await this.#ask({ requests: { remove: { request, force } } })
    await c.close()
  }

  // list returns the requests of the mesh, the newest first.
  async list ({ all } = {}) {
    const found = []
    for await (const item of this.#items('RequestsItem', { requests: { list: { all } } })) found.push(item.info)
    return found
  }

  // inspect returns what is known of one: its info, service and events.
  async inspect (request) {
    const detail = { events: [] }
    for await (const item of this.#items('RequestsItem', { requests: { inspect: { request } } })) {
      if (item.info !== undefined) detail.info = item.info
      if (item.service !== undefined) detail.service = item.service
      if (item.event !== undefined) detail.events.push(item.event)
    }
    return detail
  }

  // watch returns, once the device has begun to tell, every event of every
  // request from then on. Leaving the loop ends it.
  async watch () {
    const c = await this.#ask({ requests: { watch: {} } })
    const items = receiveItems(c, 'RequestsItem')
    return (async function * () {
      for await (const item of items) if (item.event !== undefined) yield item.event
    })()
  }

  // exec runs one more command in a container: of a request, or of a stack's
  // service, named STACK/SERVICE. When the session is left, the command is ended.
  async exec (container, args, { stdin, tty, rows, columns, env, workDir, user, detach } = {}) {
    return new Session(await this.#ask({
      exec: { target: targetOf(container), args, stdin, tty, ttyRows: rows, ttyColumns: columns, env, workDir, user, detach }
    }))
  }

  // dial connects to a port of a container.
  async dial (container, port) {
    return new Connection(await this.#ask({ dial: { target: targetOf(container), port } }))
  }

  // copyOut copies a file or folder out of a container: the stdout of the session's
  // result is a tar archive, whole where its state is succeeded.
  async copyOut (container, path, { followLink } = {}) {
    return new Session(await this.#ask({ copy: { target: targetOf(container), path, followLink } }))
  }

  // copyInto copies into one: write the archive to the session, endInput, and look
  // at its result.
  async copyInto (container, path, { contents } = {}) {
    return new Session(await this.#ask({ copy: { target: targetOf(container), path, into: true, contents } }))
  }

  // devices returns the members of the mesh.
  async devices () {
    const found = []
    for await (const item of this.#items('DevicesItem', { devices: {} })) found.push(item.device)
    return found
  }

  // diagnose returns what the device finds wrong with itself.
  async diagnose () {
    const found = []
    for await (const item of this.#items('ChecksItem', { diagnose: {} })) if (item.check !== undefined) found.push(item.check)
    return found
  }

  // status returns what the device knows of itself.
  async status () {
    let info
    for await (const item of this.#items('StatusItem', { manage: { status: {} } })) info ??= item.info
    return info
  }

  // close leaves: what was not detached is stopped by the device.
  async close () {
    await this.#libp2p.stop()
  }

  async * #items (type, verb, raw) {
    yield * receiveItems(await this.#ask(verb, raw), type)
  }

  // #ask begins a conversation and returns it once it is accepted. raw follows the
  // first frame.
  async #ask (verb, raw) {
    const stream = await this.#connection.newStream(PROTOCOL, { maxOutboundStreams: MAX_STREAMS })
    const c = new Conversation(stream)
    try {
      await c.send('AppRequest', { token: this.#token, ...verb })
      // The answer may come before all of that is out: then it is a no.
      if (raw !== undefined) c.sendRaw(raw).catch(() => {})
      const answer = await c.receive('Answer')
      if (answer?.accepted !== undefined) return c
      throw answer === undefined ? new Error('the device hung up') : new HearthError(answer.error ?? answer.refusal)
    } catch (err) {
      c.abort()
      throw err
    }
  }
}

// receiveItems yields what a list holds, until it is complete.
async function * receiveItems (c, type) {
  try {
    for (;;) {
      const item = await c.receive(type)
      if (item === undefined) throw new Error('the list broke off')
      if (item.error !== undefined) throw new HearthError(item.error)
      if (item.complete !== undefined) return
      yield item
    }
  } finally {
    await c.close()
  }
}

// Session is a request that is attached to. Somebody must read its updates, by
// updates() or result(): else the container waits at some point.
class Session {
  #conversation
  #credit = FIRST_CREDIT
  #inputClosed = false
  #moreCredit = () => {}

  constructor (conversation) {
    this.#conversation = conversation
  }

  // updates yields { event } and { output: { channel, offset, cut, data } } until
  // the request has ended. Leaving the loop leaves the request.
  async * updates () {
    try {
      for (;;) {
        const update = await this.#conversation.receive('Update')
        if (update === undefined) throw new Error('the session broke off; attach to the request again')
        if (update.error !== undefined) throw new HearthError(update.error)
        if (update.complete !== undefined) return
        if (update.credit !== undefined) this.#grant(update.credit.bytes)
        if (update.inputClosed !== undefined) this.#refuseInput()
        if (update.output !== undefined) {
          const { channel, offset, cut, length } = update.output
          const data = await this.#conversation.receiveRaw(length)
          yield { output: { channel, offset, cut, data } }
        }
        if (update.event !== undefined) {
          yield { event: update.event }
          if (ended(update.event.state)) return
        }
      }
    } finally {
      this.#refuseInput()
      await this.#conversation.close()
    }
  }

  // result reads to the end: { state, exitCode, stdout, stderr, event }.
  async result () {
    const parts = { stdout: [], stderr: [] }
    let last
    for await (const { event, output } of this.updates()) {
      if (output !== undefined) parts[output.channel].push(Buffer.from(output.data))
      if (event !== undefined) last = event
    }
    return {
      state: last.state, exitCode: last.exitCode, event: last,
      stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr)
    }
  }

  // write gives the container input, as fast as it reads. It returns false once
  // nobody reads it any more. One write at a time.
  async write (data) {
    let rest = typeof data === 'string' ? new TextEncoder().encode(data) : data
    while (rest.length > 0) {
      while (this.#credit === 0 && !this.#inputClosed) {
        await new Promise(resolve => { this.#moreCredit = resolve })
      }
      if (this.#inputClosed) return false
      const piece = rest.subarray(0, Math.min(this.#credit, MAX_RAW))
      this.#credit -= piece.length
      rest = rest.subarray(piece.length)
      await this.#conversation.send('Wish', { input: { channel: 'stdin', length: piece.length } }, piece)
    }
    return true
  }

  async endInput () { await this.#wish({ closeInput: {} }) }
  async stop ({ grace = 10_000 } = {}) { await this.#wish({ stop: { grace: nanoseconds(grace) } }) }
  async signal (name) { await this.#wish({ signal: { name } }) }
  async resize (rows, columns) { await this.#wish({ resize: { rows, columns } }) }
  // leave lets go of the session.
  leave () { this.#conversation.abort() }

  async #wish (wish) { await this.#conversation.send('Wish', wish) }

  #grant (bytes) {
    this.#credit += bytes
    this.#moreCredit()
  }

  #refuseInput () {
    this.#inputClosed = true
    this.#moreCredit()
  }
}

// Connection is one to a port of a container.
class Connection {
  #conversation

  constructor (conversation) {
    this.#conversation = conversation
  }

  async write (data) {
    await this.#conversation.sendRaw(typeof data === 'string' ? new TextEncoder().encode(data) : data)
  }

  // end says that no more is written; what comes goes on.
  async end () { await this.#conversation.endSending() }

  // received yields what comes, until the other side has ended.
  async * received () {
    for (;;) {
      const bytes = await this.#conversation.receiveSome()
      if (bytes === undefined) return
      yield bytes
    }
  }

  // close breaks the connection off.
  close () { this.#conversation.abort() }
}

// targetOf is a container as it travels: REQUEST or STACK/SERVICE.
function targetOf (container) {
  const at = container.indexOf('/')
  if (at < 0) return { request: { request: container } }
  return { service: { stack: container.slice(0, at), service: container.slice(at + 1) } }
}

// asked is a service as it travels. Its secrets are { name, data }, with text or bytes.
function asked (service) {
  const secrets = service.secrets?.map(({ name, data }) => {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
    return { name, data: bytes, size: bytes.length }
  })
  return { ...service, secrets, timeout: nanoseconds(service.timeout) }
}

function nanoseconds (milliseconds) {
  return milliseconds === undefined ? undefined : BigInt(Math.round(milliseconds)) * 1_000_000n
}
