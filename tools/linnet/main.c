// SPDX-License-Identifier: MIT
/*
 * linnet: one binary, one file per subcommand. This file finds the subcommand and
 * sets up what all of them rely on: standard streams that are open, and write
 * errors instead of SIGPIPE and SIGXFSZ.
 */
#include "tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "run", cmd_run, "write text after a prompt" },
	{ "chat", cmd_chat, "talk with a model, using its chat template" },
	{ "info", cmd_info, "show what a model file holds and needs" },
	{ "plan", cmd_plan, "show what stays in memory, what is read again, and the speed" },
	{ "bench", cmd_bench, "measure prompt and generation speed" },
	{ "perplexity", cmd_perplexity, "measure how well a model predicts a text" },
	{ "logits", cmd_logits, "print the logits for a text or for token ids" },
	{ "tokenize", cmd_tokenize, "turn text into token ids, and back" },
	{ "device", cmd_device, "be a device for virtual machines (vhost-user)" },
};

static void usage(FILE *to)
{
	fprintf(to, "usage: linnet COMMAND [options]\n\n"
		"Run language models where memory is short.\n\nCommands:\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "  %-12s %s\n  %-12s %s\n", "help", "show this, or the options of a command",
		"version", "show the version");
	fprintf(to,
		"\n'linnet help COMMAND' or 'linnet COMMAND --help' shows a command's options.\n"
		"\nExamples:\n"
		"  linnet run -p \"Once upon a time\"      the demo model tells a story\n"
		"  linnet run -m model.gguf -p \"Hello\"   a model of your own\n");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	tool_error("%s: unknown command", name);
	fputs("Try 'linnet help'.\n", stderr);
	return TOOL_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *c;
	char *args[] = { NULL, "--help", NULL };

	if (argc < 2) {
		usage(stdout);
		return out_finish(TOOL_OK);
	}
	c = find(argv[1]);
	if (!c)
		return unknown(argv[1]);
	args[0] = argv[1];
	return c->main(2, args);
}

/* A descriptor below 3 that is closed would be given to the next file that is
 * opened, and the text would go into it. */
static void open_standard_streams(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			/* the wrong way round: using it stays an error */
			(void)!open("/dev/null", fd == 0 ? O_WRONLY : fd == 1 ? O_RDONLY : O_RDWR);
}

int main(int argc, char **argv)
{
	const struct command *c;

	tool_start_ns = now_ns();
	open_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		out_printf("linnet %s\n", linnet_version());
		return out_finish(TOOL_OK);
	}
	if (!strcmp(argv[1], "help"))
		return help(argc - 1, argv + 1);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return help(1, argv);
	c = find(argv[1]);
	return c ? c->main(argc - 1, argv + 1) : unknown(argv[1]);
}
