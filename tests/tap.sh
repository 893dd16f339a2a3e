# SPDX-License-Identifier: MIT
# Results of tests that are scripts, as TAP. Sourced from the project's root.
n=0 failed=0

# result STATUS DESCRIPTION [FILE]: 0 is ok; otherwise the end of the file says why
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		failed=1
		echo "not ok $n - $2"
		[ ! -s "${3:-}" ] || tail -n 60 "$3" | awk '{ print "# " $0 }'
	fi
}

# skip DESCRIPTION REASON
skip()
{
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

# end_tests: the plan, and the exit status
end_tests()
{
	echo "1..$n"
	exit $failed
}
