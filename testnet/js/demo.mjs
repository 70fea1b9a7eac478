// An app: it runs a container on the best device of the mesh, feeds it, reads what
// it says and how it ends, and watches the states of everything meanwhile.
//
// usage: node demo.mjs STATEDIR [SERVICE]
//
// SERVICE is JSON with the fields of a service; it should copy its input to its
// output. The container gets 1 MiB.

import { createHash } from 'node:crypto'
import { connect } from './hearth-app.mjs'

const [stateDir, json = '{"image": "busybox", "args": ["cat"]}'] = process.argv.slice(2)
if (stateDir === undefined) {
  console.error('usage: node demo.mjs STATEDIR [SERVICE]')
  process.exit(2)
}

const hash = bytes => createHash('sha256').update(bytes).digest('hex').slice(0, 16)
const input = Buffer.alloc(1 << 20, 'all work and no play ')

const hearth = await connect(stateDir)
const names = (await hearth.devices()).map(d => d.score.name)
console.log(`devices: ${names.join(' ')}`)

// Watch first, so that nothing of what follows is missed.
const watch = await hearth.watch()
const id = `demo-${process.pid}-${Date.now()}`
const states = (async () => {
  const seen = []
  for await (const event of watch) {
    if (event.request !== id) continue
    if (seen.at(-1) !== event.state) seen.push(event.state)
    if (['succeeded', 'failed', 'refused', 'cancelled', 'timed_out', 'lost', 'unknown'].includes(event.state)) break
  }
  return seen
})()

const run = await hearth.run({ ...JSON.parse(json), stdin: true }, { id })
const fed = run.write(input).then(() => run.endInput())
const { state, exitCode, stdout, stderr, event } = await run.result()
await fed
if (stderr.length > 0) process.stderr.write(stderr)
console.log(`in:  ${input.length} bytes, sha256 ${hash(input)}`)
console.log(`out: ${stdout.length} bytes, sha256 ${hash(stdout)}`)
console.log(`end: ${state}, exit code ${exitCode}${event.reason === '' ? '' : ` (${event.reason})`}`)
console.log(`states: ${(await states).join(' ')}`)

// Running the same ID again runs nothing: it tells what became of the first.
const again = await (await hearth.run({ ...JSON.parse(json), stdin: true }, { id })).result()
console.log(`again: ${again.state}, exit code ${again.exitCode}`)

// What is not known is said with a code.
await hearth.inspect('nosuch').catch(err => console.log(`unknown: ${err.code}`))
await hearth.close()
process.exitCode = exitCode
