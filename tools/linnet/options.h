/* SPDX-License-Identifier: MIT */
/*
 * Command line options as a table: the table is parsed by, and the text of --help
 * is made from, the same entries. Numbers are checked in full: anything after the
 * number, overflow and values out of range are wrong usage, named with the option.
 */
#ifndef LINNET_TOOL_OPTIONS_H
#define LINNET_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_kind {
	OPT_END = 0,
	OPT_GROUP,	/* help is a heading */
	OPT_FLAG,	/* bool: true when given */
	OPT_TEXT,	/* const char * */
	OPT_INT,	/* int64_t in [min, max] */
	OPT_FLOAT,	/* float in [min, max] */
	OPT_U64,	/* struct opt_u64 */
	OPT_SIZE,	/* uint64_t: bytes, "512M", "1.5GiB"; "auto" is 0, "none" UINT64_MAX */
	OPT_CHOICE,	/* int: index in choices */
	OPT_LIST,	/* struct opt_list of int64_t in [min, max], separated by commas */
};

struct opt_u64 {
	uint64_t value;
	bool set;
};

/* Values are the caller's to free. A repeated option appends. */
struct opt_list {
	int64_t *v;
	size_t n;
	bool set;
};

struct opt {
	enum opt_kind kind;
	char letter;			/* 0: none */
	const char *name;		/* without the dashes */
	const char *arg;		/* "FILE" */
	const char *help;		/* may hold line breaks */
	void *var;
	int64_t min, max;
	const char *const *choices;	/* NULL at the end */
	const char *alias;		/* another way to write it, with its dashes; or NULL */
};

struct cli {
	const char *command;
	const char *usage;		/* what follows "linnet COMMAND" */
	const char *about;		/* a paragraph */
	const char *examples;		/* complete lines */
	const struct opt *opts;		/* ends with OPT_END */
	const char **positional;	/* NULL: no argument without an option */
};

/*
 * True: go on. False: *status is the exit status (help was printed, or the usage
 * was wrong and a message said how).
 */
bool cli_parse(const struct cli *cli, int argc, char **argv, int *status);

/* A message about an option and what was given, "COMMAND: what (--name, "value")";
 * returns TOOL_USAGE. */
int cli_wrong(const char *command, const char *what, const char *name, const char *value);

#define OPT_COMMON								\
	{ OPT_GROUP, .help = "Other" },						\
	{ OPT_FLAG, 'q', "quiet", NULL, "no notes, progress or summary on stderr",	\
	  &tool_quiet },							\
	{ OPT_FLAG, 'h', "help", NULL, "show this help and exit", NULL },	\
	{ OPT_END }

#endif
