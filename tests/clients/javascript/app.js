// A web app without a line of telemetry in it: what `NODE_OPTIONS` requires puts it there.
'use strict';

const { createServer } = require('http');

const server = createServer((request, response) => {
  response.statusCode = request.url === '/checkout' ? 500 : 200;
  response.end();
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
