#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet device: its command line, its socket, and its end. What it does for guests is
# tested in tests/device.
. "$(dirname "$0")/lib.sh"

socket=$tmp/socket

# start ARGUMENTS...: run it in the background until the socket is there
start()
{
	"$linnet" device "$@" >"$out" 2>"$err" &
	pid=$!
	n=0
	while [ ! -S "$socket" ] && [ $n -lt 100 ] && kill -0 $pid 2>/dev/null; do
		sleep 0.05
		n=$((n + 1))
	done
}

# stop SIGNAL: end it; its status
stop()
{
	kill -"$1" $pid
	wait $pid
}

expect 2 "no socket" device
expect 2 "two sockets" device -s "$socket" --fd 3
stderr_has "both are named" "socket-path, --fd"
expect 2 "a descriptor that is not open" device --fd 99
expect 1 "a descriptor that is no socket" device --fd 0
stderr_has "it is named" "(--fd, 0)"
expect 2 "a path without characters" device -s ''
stderr_has "the option is named" "--socket-path"
export LINNET_CPU=none
expect 1 "a level of kernels that there is not" device -s "$socket"
stderr_has "it is named" "(LINNET_CPU, none)"
unset LINNET_CPU
expect 2 "no threads" device -s "$socket" -t 0
expect 1 "a folder that is not there" device -s "$tmp/none/socket"
stderr_has "the path is named" "$tmp/none/socket"
expect 1 "a path that is too long" device -s "$tmp/$(printf '%0120d' 0)"
echo text >"$tmp/file"
expect 1 "a file is not removed" device -s "$tmp/file"
check "it is still there" grep -q text "$tmp/file"

expect 0 "--print-capabilities" device --print-capabilities
check "--print-capabilities: JSON" grep -qx '{ "type": "linnet" }' "$out"
expect 1 "a user that there is not" device -s "$socket" --user no-such-user
stderr_has "the user is named" "no-such-user: no such user (--user)"
check "and no socket is left" test ! -e "$socket"
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$tmp"
	start -s "$socket" --user nobody
	check "--user: the socket is the user's" test "$(stat -c %U "$socket")" = nobody
	check "--user: so is the process" \
		test "$(sed -n 's/^Uid:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status)" = \
		"$(id -u nobody)"
	check "--user: in no group but its own" \
		test -z "$(sed -n 's/^Groups:[[:space:]]*//p' /proc/$pid/status)"
	check "--user: with no capability" grep -qx 'CapEff:	0*' /proc/$pid/status
	stop TERM
	rm -f "$socket"
else
	skip "--user" "not root"
fi

start -s "$socket"
check "it makes a socket" test -S "$socket"
check "for its user alone" test "$(stat -c %a "$socket")" = 600
cp "$err" "$tmp/said"
check "and says so" grep -q "^linnet: device: waiting for guests at $socket" "$tmp/said"
expect 1 "a second one at the same socket" device -s "$socket"
stderr_has "it is in use" "in use"
check "which is still there" test -S "$socket"
check "SIGTERM ends it" stop TERM
check "the socket is gone" test ! -e "$socket"

start -s "$socket" --once
expect 1 "a second one beside --once" device -s "$socket"
sleep 0.3
check "is no guest of the first, which is still there" kill -0 $pid
stop TERM

# connect SECONDS [BYTES]: be a front end of no manners for a while
connect()
{
	"$python" -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"".join(a.encode() for a in sys.argv[3:]))
time.sleep(float(sys.argv[2]))' "$socket" "$@"
}

# soon WHAT TEXT: the daemon says it
soon()
{
	n=0
	while ! grep -q -e "$2" "$err" && [ $n -lt 100 ]; do
		sleep 0.05
		n=$((n + 1))
	done
	check "$1" grep -q -e "$2" "$err"
}

# What a process that serves a guest has given up before it reads the first byte.
# given_up: NoNewPrivs and Seccomp of the first guest's process
given_up()
{
	sed -n 's/^\(NoNewPrivs\|Seccomp\):[[:space:]]*//p' \
		"/proc/$(sed -n 's/.*guest 1: connected (process \([0-9]*\)).*/\1/p' "$err")/status" |
		tr -d '\n'
}

start -s "$socket"
connect 2 &
soon "a guest has a process" "guest 1: connected (process"
sleep 0.5
check "which makes few system calls, and wins no privileges" [ "$(given_up)" = 12 ]
wait $!
stop TERM
start -s "$socket" --no-sandbox
connect 2 &
soon "--no-sandbox: a guest has a process" "guest 1: connected (process"
sleep 0.5
check "--no-sandbox: it makes any call, and wins no privileges" [ "$(given_up)" = 10 ]
wait $!
stop TERM

start -s "$socket" --max-guests 1
connect 0.5 &
soon "a guest at the last place" "others wait until one of these 1 has left (--max-guests)"
connect 0.1 'GET / HTTP/1.0 and so on'
wait $!
soon "another comes when it has left" "guest 2: connected"
soon "one that speaks something else is told apart" "guest 2: .*no message of the vhost-user"
soon "and is seen off" "guest 2: left, with a failure"
stop TERM

start -q -s "$socket"
check "nothing is said with -q" test ! -s "$err"
kill -KILL $pid
wait $pid 2>/dev/null
check "what kill -9 leaves" test -S "$socket"
rm -f "$err"
"$linnet" device -s "$socket" >"$out" 2>"$err" &
pid=$!
n=0
while ! grep -q waiting "$err" && [ $n -lt 100 ]; do
	sleep 0.05
	n=$((n + 1))
done
check "is taken over" grep -q "waiting for guests" "$err"
kill -INT $pid 2>/dev/null
# a shell without job control starts what is in the background without SIGINT
sleep 0.3
kill -TERM $pid 2>/dev/null
check "SIGTERM ends that, too" wait $pid
done_testing
