// Logs as they are: lines by hand, a file that grows, the access logs of four proxies, syslog. Pure.
import { releaseQuery, shellWord, text, type Snippet, type SnippetInput } from './snippet.ts';

/** Where the snippets have Shipwake listen for syslog. */
const SYSLOG = { host: '127.0.0.1', port: 1514 };

const DURATIONS = 'With the default format requests and errors are counted; durations need the format above.';

function release(input: SnippetInput): string {
  return [
    `--service ${shellWord(input.service)}`,
    `--version ${shellWord(input.version)}`,
    `--environment ${shellWord(input.environment)}`,
  ].join(' ');
}

/** A command whose output becomes records. */
function piped(command: string, input: SnippetInput, format?: string): string {
  const options = format ? ` --format ${format}` : '';
  return text(`${command} |`, `  shipwake pipe ${release(input)}${options} \\`, `    --endpoint ${shellWord(input.http)}`);
}

export function lines(input: SnippetInput): Snippet {
  const line = '{"level":"info","message":"hello from curl"}';
  return {
    key: 'lines',
    word: 'curl',
    steps: [
      {
        title: 'One log line over HTTP',
        text: text(`curl -sS ${shellWord(`${input.http}/v1/lines?${releaseQuery(input)}`)} \\`, `  --data-binary ${shellWord(line)}`),
      },
    ],
    note: 'The body is any number of lines, JSON or plain text, optionally gzip. The answer says how many were accepted, once they are on disk.',
  };
}

export function pipe(input: SnippetInput): Snippet {
  return {
    key: 'pipe',
    word: 'tail -F',
    steps: [{ title: 'Follow a log file', text: piped('tail -n 0 -F app.log', input) }],
    note: 'JSON, logfmt and plain lines are told apart by themselves. What is read while Shipwake is away is sent when it is back, and counted once. To keep the position over restarts, use shipwake tail app.log in place of both commands.',
  };
}

export function nginx(input: SnippetInput): Snippet {
  return {
    key: 'nginx',
    word: 'nginx',
    steps: [
      {
        title: 'In nginx.conf, inside http { … }',
        file: 'nginx.conf',
        text: text(
          'log_format shipwake escape=json',
          "  '{\"time\":\"$time_iso8601\",\"method\":\"$request_method\",\"path\":\"$uri\",\"status\":$status,'",
          "  '\"request_time\":$request_time,\"upstream_addr\":\"$upstream_addr\",\"remote_addr\":\"$remote_addr\"}';",
          'access_log /var/log/nginx/shipwake.log shipwake;',
        ),
      },
      { title: 'Follow it', text: piped('tail -n 0 -F /var/log/nginx/shipwake.log', input, 'nginx') },
    ],
    note: `To begin with the log that nginx writes already, skip the first step and follow /var/log/nginx/access.log. ${DURATIONS}`,
  };
}

export function httpd(input: SnippetInput): Snippet {
  return {
    key: 'httpd',
    word: 'httpd',
    steps: [
      {
        title: 'In apache2.conf, or your virtual host',
        file: 'apache2.conf',
        text: text(
          'LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\" %D" shipwake',
          'CustomLog /var/log/apache2/shipwake.log shipwake',
        ),
      },
      { title: 'Follow it', text: piped('tail -n 0 -F /var/log/apache2/shipwake.log', input, 'httpd') },
    ],
    note: `To begin with the log that httpd writes already, skip the first step and follow /var/log/apache2/access.log. ${DURATIONS}`,
  };
}

export function haproxy(input: SnippetInput): Snippet {
  return {
    key: 'haproxy',
    word: 'HAProxy',
    steps: [
      {
        title: 'In haproxy.cfg',
        file: 'haproxy.cfg',
        text: text('global', '  log stdout format raw local0', 'defaults', '  mode http', '  log global', '  option httplog'),
      },
      { title: 'Start it so', text: piped('haproxy -f haproxy.cfg', input, 'haproxy') },
    ],
    note: `Under systemd, log to syslog in place of stdout: log ${SYSLOG.host}:${SYSLOG.port} local0, with shipwake serve --syslog-udp ${SYSLOG.host}:${SYSLOG.port}. The formats tcplog and default have no status: use httplog.`,
  };
}

export function varnish(input: SnippetInput): Snippet {
  return {
    key: 'varnish',
    word: 'Varnish',
    steps: [
      {
        title: 'Beside varnishd',
        text: piped(`stdbuf -oL varnishncsa -F '%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i" %D'`, input, 'varnish'),
      },
    ],
    note: 'Varnish keeps its log in shared memory: varnishncsa reads it, on the same machine, and keeps what it prints for a while unless stdbuf says otherwise. The last field is the duration in microseconds.',
  };
}

export function rsyslog(input: SnippetInput): Snippet {
  // A template has three layers of quoting, and rsyslog cannot carry these characters through all of them.
  const value = (word: string) => word.replaceAll(/[^\p{L}\p{N} .,:@+=/_-]/gu, '_');
  const identity = `[shipwake@0 version="${value(input.version)}" environment="${value(input.environment)}"]`;
  const message = '%msg:::sp-if-no-1st-sp%%msg%';
  const template = `<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% %PROCID% %MSGID% ${identity}${message}`;
  return {
    key: 'rsyslog',
    word: 'rsyslog',
    steps: [
      { title: 'Start Shipwake with a syslog port', text: `shipwake serve --syslog-tcp ${SYSLOG.host}:${SYSLOG.port}` },
      {
        title: '/etc/rsyslog.d/shipwake.conf',
        file: 'shipwake.conf',
        text: text(
          `template(name="shipwake" type="string" string=${JSON.stringify(template)})`,
          `*.* action(type="omfwd" target="${SYSLOG.host}" port="${SYSLOG.port}" protocol="tcp" TCP_Framing="octet-counted"`,
          '    template="shipwake" queue.type="linkedList" action.resumeRetryCount="-1")',
        ),
      },
      { title: 'Load it', text: 'systemctl restart rsyslog' },
    ],
    note: 'The name of the program becomes the service. Everything of this machine gets the one version: for a single service put an if $programname == "…" then in front of action.',
  };
}
