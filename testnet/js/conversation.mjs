// One conversation with the device: frames over a libp2p stream, with as little
// in memory as the reader leaves unread.

import { MAX_MESSAGE, MAX_RAW, concat, decode, frame } from './wire.mjs'

// From so many unread bytes on the device is told to wait.
const HIGH_WATER = 256 * 1024

export class Conversation {
  #stream
  #chunks = []
  #buffered = 0
  #over = false // nothing more will come
  #failure
  #wake = () => {}

  constructor (stream) {
    this.#stream = stream
    stream.addEventListener('message', event => {
      const bytes = event.data.subarray() // of one chunk, or of a list of them
      this.#chunks.push(bytes)
      this.#buffered += bytes.length
      if (this.#buffered >= HIGH_WATER && stream.readStatus === 'readable') stream.pause()
      this.#wake()
    })
    const over = event => {
      this.#over = true
      this.#failure ??= event?.error
      this.#wake()
    }
    stream.addEventListener('remoteCloseWrite', over)
    stream.addEventListener('close', over)
  }

  // send sends a frame, and returns when there is room for the next one.
  async send (type, value, raw) {
    if (!this.#stream.send(frame(type, value, raw))) await this.#stream.onDrain()
  }

  // sendRaw sends bytes that a frame has announced.
  async sendRaw (bytes) {
    for (let pos = 0; pos < bytes.length; pos += MAX_RAW) {
      if (!this.#stream.send(bytes.subarray(pos, pos + MAX_RAW))) await this.#stream.onDrain()
    }
  }

  // receive returns the next message; undefined at an end between two frames.
  async receive (type) {
    let length = 0
    for (let i = 0; ; i++) {
      const b = await this.#read(1, i === 0)
      if (b === undefined) return undefined
      length += (b[0] & 0x7f) * 2 ** (7 * i)
      if (b[0] < 0x80) break
      if (i === 2) throw new Error('a frame\'s length is too long')
    }
    if (length > MAX_MESSAGE) throw new Error(`a frame of ${length} bytes is too large`)
    return decode(type, await this.#read(length))
  }

  // receiveRaw returns the bytes that follow a frame.
  async receiveRaw (length) {
    return await this.#read(length)
  }

  // receiveSome returns the raw bytes that are there; undefined at their end.
  async receiveSome () {
    const first = await this.#read(1, true)
    if (first === undefined) return undefined
    const rest = this.#buffered === 0 ? [] : [await this.#read(this.#buffered)]
    return concat([first, ...rest])
  }

  // sendRaw sends bytes, and returns when there is room for more.
  async sendRaw (bytes) {
    if (!this.#stream.send(bytes)) await this.#stream.onDrain()
  }

  // endSending ends this half; the other one goes on.
  async endSending () { await this.#stream.close() }

  // #read returns exactly n bytes; at the end nothing, if that may come here.
  async #read (n, mayEnd = false) {
    while (this.#buffered < n) {
      if (this.#stream.readStatus === 'paused') this.#stream.resume()
      if (this.#buffered >= n) break
      if (this.#over && this.#stream.readBufferLength === 0) {
        if (mayEnd && this.#buffered === 0 && this.#failure === undefined) return undefined
        throw new Error('lost the connection to the device', { cause: this.#failure })
      }
      await new Promise(resolve => { this.#wake = resolve })
    }
    const all = this.#chunks.length === 1 ? this.#chunks[0] : concat(this.#chunks)
    this.#chunks = n < all.length ? [all.subarray(n)] : []
    this.#buffered -= n
    return all.subarray(0, n)
  }

  // close leaves in order.
  async close () {
    await this.#stream.close().catch(() => {}) // it may have ended already
    this.abort()
  }

  // abort leaves at once.
  abort () {
    this.#over = true
    this.#stream.abort(new Error('left'))
    this.#wake()
  }
}
