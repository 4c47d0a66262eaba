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
  if (name === 'kinesalite') answerIteratorsOfMomentsWithoutRecords()
  const server = require(name)(options)
  server.listen(options.port || 0, '127.0.0.1', () => console.log(server.address().port))
}

// kinesalite never answers a GetShardIterator AT_TIMESTAMP when nothing has arrived since. Kinesis gives an iterator
// that brings what arrives from then on.
function answerIteratorsOfMomentsWithoutRecords () {
  const file = require.resolve('kinesalite/actions/getShardIterator')
  const original = require(file)
  const { shardIxToHex } = require('kinesalite/db')
  require.cache[file].exports = function (store, data, callback) {
    if (data.ShardIteratorType !== 'AT_TIMESTAMP' || !(data.Timestamp * 1000 <= Date.now())) {
      return original(store, data, callback)
    }
    const { Timestamp, ...others } = data
    const shard = parseInt(data.ShardId.split('-')[1], 10)
    const db = store.getStreamDb(data.StreamName)
    const records = db.createReadStream({ gt: shardIxToHex(shard), lt: shardIxToHex(shard + 1) })
    let found = false
    records.on('data', (record) => {
      found = found || record.value.ApproximateArrivalTimestamp >= Timestamp
      if (found) records.destroy()
    })
    records.on('close', () => {
      original(store, found ? data : { ...others, ShardIteratorType: 'LATEST' }, callback)
    })
  }
}
