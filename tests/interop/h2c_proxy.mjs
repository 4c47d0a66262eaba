// Takes HTTP/2 without TLS, which the MultiLangDaemon insists on, and hands it to a server that speaks HTTP/1.1.
// node h2c_proxy.mjs SERVER_PORT; prints its own.
import http from "node:http";
import http2 from "node:http2";

const serverPort = Number(process.argv[2]);
const agent = new http.Agent({ keepAlive: true });

const server = http2.createServer((request, response) => {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !name.startsWith(":")));
  headers.host = request.headers[":authority"];
  const options = { agent, host: "127.0.0.1", port: serverPort, method: request.method, path: request.url, headers };
  const onward = http.request(options, (answer) => {
    const { connection, "keep-alive": _, "transfer-encoding": __, ...kept } = answer.headers;
    response.writeHead(answer.statusCode, kept);
    answer.pipe(response);
  });
  onward.on("error", () => response.stream?.destroy());
  request.pipe(onward);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
