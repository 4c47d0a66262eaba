// node serve.js kinesalite|dynalite|kinesis-local [{"options": …}]
// Starts one server on 127.0.0.1 alone, and prints the port when it listens.
'use strict'
const net = require('net')
const path = require('path')

const name = process.argv[2]
const options = JSON.parse(process.argv[3] || '{}')

if (name === 'kinesis-local') {
  // It takes its settings from the environment and listens on all interfaces, without an option to change that.
  const listen = net.Server.prototype.listen
  net.Server.prototype.listen = function (first, ...rest) {
    const port = typeof first === 'object' ? first.port : first
    const callback = rest.find((argument) => typeof argument === 'function')
    return listen.call(this, { port, host: '127.0.0.1' }, callback)
  }
  require(path.join(__dirname, 'node_modules/kinesis-local/main.js'))
} else {
  // Both throw when a client is killed within a request; a service goes on answering the others.
  process.on('uncaughtException', (error) => {
    console.error(error)
    if (error.code !== 'ECONNRESET') process.exit(1)
  })
  const server = require(name)(options)
  server.listen(options.port || 0, '127.0.0.1', () => console.log(server.address().port))
}
