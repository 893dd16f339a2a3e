// SPDX-License-Identifier: MIT
/*
 * linnet device: a Linnet device for virtual machines, spoken to by the vhost-user
 * protocol. What it does is in tools/device/; this is its command line.
 */
#include "options.h"
#include "tool.h"

#include "tools/device/serve.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MEMORY (1ull << 30)

static void tell(bool error, const char *line)
{
	if (error)
		tool_error("device: %s", line);
	else
		tool_note("device: %s", line);
}

int cmd_device(int argc, char **argv)
{
	struct serve_options opts = { .fd = -1, .sandbox = true, .say = tell };
	int64_t threads = 0, guests = 16, fd = -1;
	uint64_t memory = 0;
	bool no_sandbox = false, capabilities = false;
	const struct opt table[] = {
		{ OPT_GROUP, .help = "Socket" },
		{ OPT_TEXT, 's', "socket-path", "PATH",
		  "make the socket PATH, for this user alone, and wait for\n"
		  "front ends there", &opts.path },
		{ OPT_INT, 0, "fd", "N", "wait at descriptor N, a socket that listens", &fd, 0,
		  INT32_MAX },
		{ OPT_TEXT, 0, "user", "NAME",
		  "become this user when the socket is there; it belongs\n"
		  "to that user then", &opts.user },
		{ OPT_FLAG, 0, "print-capabilities", NULL,
		  "print what kind of back end this is, as JSON, and exit", &capabilities },
		{ OPT_GROUP, .help = "Guests" },
		{ OPT_INT, 't', "threads", "N",
		  "threads for each guest (default: one for each core)", &threads, 1, 1024 },
		{ OPT_SIZE, 0, "memory", "SIZE",
		  "what streams and scratch of one guest may take\n(default: 1GiB)", &memory },
		{ OPT_INT, 0, "max-guests", "N", "guests at a time (default: 16)",
		  &guests, 1, 1024 },
		{ OPT_FLAG, 0, "once", NULL, "end when the first guest has gone", &opts.once },
		{ OPT_GROUP, .help = "Debugging" },
		{ OPT_FLAG, 0, "no-sandbox", NULL,
		  "do not restrict the system calls of guests' processes", &no_sandbox },
		{ OPT_FLAG, 'v', "verbose", NULL, "show messages and failed requests of guests",
		  &opts.device.verbose },
		OPT_COMMON
	};
	const struct cli cli = {
		"device", "(-s PATH | --fd N) [options]",
		"Be a Linnet device for virtual machines: execute the streams of guests, in their\n"
		"own memory and without copies, on this machine's cores. Front ends (QEMU,\n"
		"User-Mode Linux) connect through the vhost-user protocol. Each guest is served\n"
		"by a process of its own. SIGINT and SIGTERM end the program.",
		"  linnet device -s /tmp/linnet.sock\n"
		"  linux mem=512M virtio_uml.device=/tmp/linnet.sock:63 ...\n",
		table, NULL
	};
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	if (capabilities) {
		puts("{ \"type\": \"linnet\" }");
		return TOOL_OK;
	}
	if (!opts.path == (fd < 0))
		return cli_wrong("device", opts.path ? "a socket from both" : "a socket is needed",
				 "--socket-path, --fd", NULL);
	if (opts.path && !*opts.path)
		return cli_wrong("device", "an empty path", "--socket-path", NULL);
	if (fd >= 0 && fcntl((int)fd, F_GETFD) < 0)
		return cli_wrong("device", "not an open descriptor", "--fd", NULL);
	opts.fd = (int)fd;
	opts.max_guests = (unsigned)guests;
	opts.sandbox = !no_sandbox;
	opts.device.n_threads = (unsigned)threads;
	opts.device.memory = memory ? memory : DEFAULT_MEMORY;
	opts.device.level = getenv("LINNET_CPU");
	return device_serve(&opts) ? TOOL_FAILED : TOOL_OK;
}
