// Reaches into a container that runs, in each way, and tells what came of it.
//
//   node reach.mjs STATE-FOLDER REQUEST PORT

import { connect } from './hearth-app.mjs'

const [stateDir, request, port] = process.argv.slice(2)
const hearth = await connect(stateDir)

const run = await hearth.exec(request, ['err=note', 'echo', 'exit=7'], { stdin: true })
const writing = run.write('x'.repeat(1024 * 1024)).then(() => run.endInput())
const { state, exitCode, stdout, stderr } = await run.result()
await writing
console.log(`exec: ${state} ${exitCode}, ${stdout.length} bytes, ${stderr}`)

const connection = await hearth.dial(request, Number(port))
await connection.write('y'.repeat(1024 * 1024))
await connection.end()
let back = 0
for await (const bytes of connection.received()) back += bytes.length
console.log(`dial: ${back} bytes`)
connection.close()

const out = await (await hearth.copyOut(request, '/tmp')).result()
console.log(`out: ${out.state}, ${out.stdout.length % 512 === 0 && out.stdout.length > 0}`)
const into = await hearth.copyInto(request, '/tmp/again')
await into.write(out.stdout)
await into.endInput()
console.log(`into: ${(await into.result()).state}`)
const again = await hearth.copyOut(request, '/tmp/again/none').catch(err => err)
console.log(`none: ${again.code}`)
const nowhere = await hearth.dial(request, 1).catch(err => err)
console.log(`nowhere: ${nowhere.code}`)
const service = await hearth.exec('no/such', ['true']).catch(err => err)
console.log(`service: ${service.code}`)
await hearth.close()
