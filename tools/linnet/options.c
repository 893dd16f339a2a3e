// SPDX-License-Identifier: MIT
/* Keeps options.h: one table for parsing and for --help. */
#include "options.h"
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cli_wrong(const char *command, const char *what, const char *name, const char *value)
{
	if (value)
		tool_error("%s: %s (%s, \"%s\")", command, what, name, value);
	else
		tool_error("%s: %s (%s)", command, what, name);
	fprintf(stderr, "Try 'linnet %s --help'.\n", command);
	return TOOL_USAGE;
}

static bool parse_int(const char *text, size_t n, int64_t *out)
{
	char buf[32], *end;
	long long v;
	size_t digits = n && text[0] == '-' ? 1 : 0;

	if (digits == n || n >= sizeof(buf))
		return false;
	for (size_t i = digits; i < n; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	memcpy(buf, text, n);
	buf[n] = '\0';
	errno = 0;
	v = strtoll(buf, &end, 10);
	if (errno || *end)
		return false;
	*out = v;
	return true;
}

static bool parse_u64(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && !*end;
}

/* A plain decimal number: no hexadecimal, infinity or NaN. */
static bool parse_double(const char *text, double *out, char **end)
{
	char c = text[0] == '-' ? text[1] : text[0];

	if (!((c >= '0' && c <= '9') || c == '.') || strpbrk(text, "xX"))
		return false;
	errno = 0;
	*out = strtod(text, end);
	return *end != text && isfinite(*out) && !(errno == ERANGE && fabs(*out) > 1);
}

static bool parse_size(const char *text, uint64_t *out)
{
	static const char letters[] = "KMGT";
	double v, unit = 1;
	char *end;
	const char *l;

	if (!parse_double(text, &v, &end) || v < 0)
		return false;
	if (*end) {
		l = strchr(letters, *end & ~0x20);
		if (l) {
			/* as GNU tools read them: M and MiB are 2^20, MB is 10^6 */
			bool decimal = !strcmp(end + 1, "B") || !strcmp(end + 1, "b");

			if (!decimal && strcmp(end + 1, "") && strcmp(end + 1, "iB"))
				return false;
			unit = pow(decimal ? 1000 : 1024, (double)(l - letters + 1));
		} else if (strcmp(end, "B")) {
			return false;
		}
	}
	v = rint(v * unit);
	if (v >= 0x1p63)
		return false;
	*out = (uint64_t)v;
	return true;
}

/* NULL, or what is wrong with the value. */
static const char *set_value(const struct opt *o, const char *text, char why[static 96])
{
	int64_t v;
	double d;
	char *end;

	switch (o->kind) {
	case OPT_TEXT:
		*(const char **)o->var = text;
		return NULL;
	case OPT_INT:
		if (!parse_int(text, strlen(text), &v))
			return "not a whole number";
		if (v < o->min || v > o->max)
			goto range;
		*(int64_t *)o->var = v;
		return NULL;
	case OPT_FLOAT:
		if (!parse_double(text, &d, &end) || *end)
			return "not a number";
		if (d < (double)o->min || d > (double)o->max)
			goto range;
		*(float *)o->var = (float)d;
		return NULL;
	case OPT_U64: {
		struct opt_u64 *u = o->var;

		if (!parse_u64(text, &u->value))
			return "not a whole number from 0 to 2^64 - 1";
		u->set = true;
		return NULL;
	}
	case OPT_SIZE:
		*(uint64_t *)o->var = strcmp(text, "none") ? 0 : UINT64_MAX;
		if (!strcmp(text, "auto") || !strcmp(text, "none"))
			return NULL;
		if (!parse_size(text, o->var) || !*(uint64_t *)o->var)
			return "not a size such as 512M or 1.5G";
		return NULL;
	case OPT_CHOICE:
		for (int i = 0; o->choices[i]; i++) {
			if (!strcmp(text, o->choices[i])) {
				*(int *)o->var = i;
				return NULL;
			}
		}
		snprintf(why, 96, "not one of");
		for (int i = 0; o->choices[i]; i++) {
			size_t n = strlen(why);

			snprintf(why + n, 96 - n, "%s %s", i ? "," : "", o->choices[i]);
		}
		return why;
	case OPT_LIST: {
		struct opt_list *l = o->var;

		for (const char *p = text;; p++) {
			size_t n = strcspn(p, ",");

			if (!parse_int(p, n, &v))
				return "not a list of whole numbers separated by commas";
			if (v < o->min || v > o->max)
				goto range;
			l->v = tool_realloc(l->v, (l->n + 1) * sizeof(*l->v));
			l->v[l->n++] = v;
			p += n;
			if (!*p)
				break;
		}
		l->set = true;
		return NULL;
	}
	default:
		return "not an option";
	}
range:
	snprintf(why, 96, "not from %lld to %lld", (long long)o->min, (long long)o->max);
	return why;
}

static void print_help(const struct cli *cli)
{
	out_printf("usage: linnet %s %s\n\n%s\n", cli->command, cli->usage, cli->about);
	for (const struct opt *o = cli->opts; o->kind != OPT_END; o++) {
		char left[64];
		const char *p = o->help;

		if (o->kind == OPT_GROUP) {
			out_printf("\n%s:\n", o->help);
			continue;
		}
		snprintf(left, sizeof(left), "%c%c%c --%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		for (const char *start = left; *p || start == left; start = "") {
			size_t n = strcspn(p, "\n");

			if (strlen(start) > 26) {
				out_printf("  %s\n", start);
				start = "";
			}
			out_printf("  %-26s %.*s\n", start, (int)n, p);
			p += n + (p[n] == '\n');
		}
	}
	out_printf("\nExamples:\n%s", cli->examples);
}

static const struct opt *find(const struct cli *cli, const char *name, size_t n, char letter)
{
	for (const struct opt *o = cli->opts; o->kind != OPT_END; o++) {
		if (o->kind == OPT_GROUP)
			continue;
		if (letter ? o->letter == letter
			   : strlen(o->name) == n && !memcmp(o->name, name, n))
			return o;
	}
	return NULL;
}

/* The option that `a` is another name of. */
static const struct opt *find_alias(const struct cli *cli, const char *a)
{
	for (const struct opt *o = cli->opts; o->kind != OPT_END; o++)
		if (o->alias && !strcmp(o->alias, a))
			return o;
	return NULL;
}

bool cli_parse(const struct cli *cli, int argc, char **argv, int *status)
{
	bool options_end = false;

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *value = NULL, *wrong;
		const struct opt *o;
		char shown[96], why[96];

		if (options_end || a[0] != '-' || !a[1]) {
			if (!cli->positional || *cli->positional) {
				*status = cli_wrong(cli->command, "unexpected argument", a, NULL);
				return false;
			}
			*cli->positional = a;
			continue;
		}
		if (!strcmp(a, "--")) {
			options_end = true;
			continue;
		}
		o = find_alias(cli, a);
		if (o) {
			/* its value is the next argument */
		} else if (a[1] == '-') {
			size_t n = strcspn(a + 2, "=");

			o = find(cli, a + 2, n, 0);
			if (a[2 + n])
				value = a + 3 + n;
		} else {
			o = find(cli, NULL, 0, a[1]);
			if (a[2])
				value = a + 2;
		}
		if (!o) {
			*status = cli_wrong(cli->command, "unknown option", a, NULL);
			return false;
		}
		snprintf(shown, sizeof(shown), "--%s", o->name);
		if (o->kind == OPT_FLAG) {
			if (value) {
				*status = cli_wrong(cli->command, "the option takes no value",
						    shown, value);
				return false;
			}
			if (!o->var) {
				print_help(cli);
				*status = out_finish(TOOL_OK);
				return false;
			}
			*(bool *)o->var = true;
			continue;
		}
		if (!value) {
			if (++i == argc) {
				*status = cli_wrong(cli->command, "the option needs a value",
						    shown, NULL);
				return false;
			}
			value = argv[i];
		}
		wrong = set_value(o, value, why);
		if (wrong) {
			*status = cli_wrong(cli->command, wrong, shown, value);
			return false;
		}
	}
	return true;
}
