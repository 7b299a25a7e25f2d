#!/bin/bash
# Whether the Shipwake of this container can answer; an image without curl has bash.
exec 3<>/dev/tcp/127.0.0.1/4400 || exit 1
printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
read -r -t 2 answer <&3
[[ $answer == *" 200 "* ]]
