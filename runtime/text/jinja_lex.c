// SPDX-License-Identifier: MIT
/*
 * Template source to tokens. White space around tags is dealt with here, as
 * Jinja does with trim_blocks and lstrip_blocks: the line break after a block tag
 * or comment goes, and so do blanks from the line's start to one; "-" takes all
 * white space on its side, "+" keeps what would go.
 */
#include "jinja_int.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/util/overflow.h"

struct lexer {
	struct jinja *j;
	const char *p, *end;
	uint32_t line;
	struct jinja_token *token;
	size_t n, cap;
};

static int lex_error(struct lexer *x, const char *what)
{
	x->j->line = x->line;
	return jinja_error(x->j, -EINVAL, "%s", what);
}

static struct jinja_token *add(struct lexer *x, enum jinja_token_type type)
{
	struct jinja_token *t;

	if (x->n == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 256;

		/* Bounded by the template's: a token has a character at least. */
		t = realloc(x->token, cap * sizeof(*t));
		if (!t) {
			jinja_error(x->j, -ENOMEM, "no memory");
			return NULL;
		}
		x->token = t;
		x->cap = cap;
	}
	t = &x->token[x->n++];
	*t = (struct jinja_token){ .type = type, .line = x->line };
	return t;
}

static bool at(const struct lexer *x, const char *s)
{
	size_t n = strlen(s);

	return (size_t)(x->end - x->p) >= n && !memcmp(x->p, s, n);
}

static void advance(struct lexer *x, const char *to)
{
	for (; x->p < to; x->p++)
		x->line += *x->p == '\n';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* After a tag: white space as its last sign says. */
static void trim_after(struct lexer *x, char sign, bool block)
{
	const char *p = x->p;

	if (sign == '-') {
		while (p < x->end && jinja_is_space(p, x->end - p))
			p += jinja_char_len(p, x->end - p);
	} else if (block && sign != '+' && p < x->end && *p == '\n') {
		p++;
	}
	advance(x, p);
}

static int hex(const char *p, const char *end, unsigned n, uint32_t *out)
{
	*out = 0;
	if ((size_t)(end - p) < n)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		char c = p[i] | 0x20;

		if (is_digit(c))
			*out = *out << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (c - 'a' + 10);
		else
			return -1;
	}
	return 0;
}

static char *put_char(char *q, uint32_t ch)
{
	if (ch < 0x80) {
		*q++ = ch;
	} else if (ch < 0x800) {
		*q++ = 0xC0 | ch >> 6;
		*q++ = 0x80 | (ch & 0x3F);
	} else if (ch < 0x10000) {
		*q++ = 0xE0 | ch >> 12;
		*q++ = 0x80 | (ch >> 6 & 0x3F);
		*q++ = 0x80 | (ch & 0x3F);
	} else {
		*q++ = 0xF0 | ch >> 18;
		*q++ = 0x80 | (ch >> 12 & 0x3F);
		*q++ = 0x80 | (ch >> 6 & 0x3F);
		*q++ = 0x80 | (ch & 0x3F);
	}
	return q;
}

/* Escapes are Python's; one that is not known stays as it is. */
static int unescape(struct lexer *x, const char *p, const char *end, struct linnet_str *out)
{
	static const char from[] = "ntrbfva\\'\"", to[] = "\n\t\r\b\f\v\a\\'\"";
	char *q = jinja_alloc(x->j, end - p + 1, 1);
	uint32_t ch;

	if (!q)
		return -ENOMEM;
	out->p = q;
	while (p < end) {
		const char *known;

		if (*p != '\\') {
			*q++ = *p++;
			continue;
		}
		/* A string does not end in an odd backslash. */
		p++;
		known = memchr(from, *p, sizeof(from) - 1);
		if (known) {
			*q++ = to[known - from];
			p++;
		} else if (*p == '\n') {
			p++;
		} else if (*p == 'x' || *p == 'u' || *p == 'U') {
			unsigned n = *p == 'x' ? 2 : *p == 'u' ? 4 : 8;

			if (hex(p + 1, end, n, &ch) || ch > 0x10FFFF ||
			    (ch >= 0xD800 && ch < 0xE000))
				return lex_error(x, "a string has an escape that is no character");
			q = put_char(q, ch);
			p += 1 + n;
		} else if (*p >= '0' && *p <= '7') {
			ch = 0;
			for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
				ch = ch << 3 | (*p++ - '0');
			q = put_char(q, ch);
		} else {
			*q++ = '\\';
		}
	}
	*q = '\0';
	out->n = q - out->p;
	return 0;
}

static int lex_string(struct lexer *x)
{
	const char *start = x->p + 1, *p = start;
	bool escaped = false;
	struct jinja_token *t;
	struct linnet_str s;

	while (p < x->end && *p != *x->p) {
		if (*p == '\\') {
			escaped = true;
			p++;
		}
		p++;
	}
	if (p >= x->end)
		return lex_error(x, "a string has no end");
	s = (struct linnet_str){ start, p - start };
	if (escaped) {
		int ret = unescape(x, start, p, &s);

		if (ret)
			return ret;
	}
	t = add(x, LEX_STRING);
	if (!t)
		return -ENOMEM;
	t->str = s;
	advance(x, p + 1);
	return 0;
}

static int lex_number(struct lexer *x)
{
	const char *p = x->p;
	struct jinja_token *t;
	bool overflow = false;
	double f = 0, place = 1;
	int64_t i = 0;
	int exponent = 0, sign = 1;

	for (; p < x->end && (is_digit(*p) || (*p == '_' && p + 1 < x->end && is_digit(p[1])));
	     p++) {
		if (*p == '_')
			continue;
		f = f * 10 + (*p - '0');
		overflow |= linnet_mul_overflow(i, 10, &i);
		overflow |= linnet_add_overflow(i, *p - '0', &i);
	}
	if (p + 1 < x->end && (*p == '.' || (*p | 0x20) == 'e') &&
	    (is_digit(p[1]) ||
	     (*p != '.' && p + 2 < x->end && (p[1] == '-' || p[1] == '+') && is_digit(p[2])))) {
		if (*p == '.') {
			for (p++; p < x->end && is_digit(*p); p++) {
				f = f * 10 + (*p - '0');
				place *= 10;
			}
		}
		if (p + 1 < x->end && (*p | 0x20) == 'e') {
			p++;
			if (*p == '-' || *p == '+')
				sign = *p++ == '-' ? -1 : 1;
			for (; p < x->end && is_digit(*p); p++)
				exponent = exponent < 10000 ? exponent * 10 + (*p - '0') : exponent;
		}
		t = add(x, LEX_FLOAT);
		if (!t)
			return -ENOMEM;
		t->f = f / place * pow(10, sign * exponent);
		advance(x, p);
		return 0;
	}
	if (overflow)
		return lex_error(x, "an integer needs more than 64 bits");
	t = add(x, LEX_INT);
	if (!t)
		return -ENOMEM;
	t->i = i;
	advance(x, p);
	return 0;
}

static int lex_op(struct lexer *x, unsigned *nesting)
{
	static const char two[][3] = { "//", "**", "==", "!=", "<=", ">=" };
	struct jinja_token *t;
	char c = *x->p;

	if (!memchr("+-*/%~[](){}=<>.:|,", c, 19) && !at(x, "!="))
		return lex_error(x, "a character that means nothing in an expression");
	*nesting += c == '(' || c == '[' || c == '{';
	if (c == ')' || c == ']' || c == '}') {
		if (!*nesting)
			return lex_error(x, "a bracket closes nothing");
		--*nesting;
	}
	t = add(x, LEX_OP);
	if (!t)
		return -ENOMEM;
	t->op = (uint8_t)c;
	for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++) {
		if (at(x, two[i])) {
			t->op = OP2(two[i][0], two[i][1]);
			x->p++;
			break;
		}
	}
	x->p++;
	return 0;
}

/* The inside of {{ }} or {% %}, up to and with its end. */
static int lex_tag(struct lexer *x, bool block)
{
	const char *close = block ? "%}" : "}}";
	unsigned nesting = 0;
	int ret = 0;

	while (!ret) {
		const char *p = x->p;

		while (p < x->end && is_blank(*p))
			p++;
		advance(x, p);
		if (p == x->end)
			return lex_error(x, block ? "{% has no %}" : "{{ has no }}");
		if (!nesting && (at(x, close) || ((*p == '-' || (block && *p == '+')) &&
						  x->end - p > 2 && !memcmp(p + 1, close, 2)))) {
			char sign = *p == *close ? 0 : *p;

			if (!add(x, block ? LEX_BLOCK_END : LEX_PRINT_END))
				return -ENOMEM;
			x->p += sign ? 3 : 2;
			trim_after(x, sign, block);
			return 0;
		}
		if (*p == '"' || *p == '\'') {
			ret = lex_string(x);
		} else if (is_digit(*p)) {
			ret = lex_number(x);
		} else if (is_name_start(*p)) {
			struct jinja_token *t = add(x, LEX_NAME);

			if (!t)
				return -ENOMEM;
			while (x->p < x->end && (is_name_start(*x->p) || is_digit(*x->p)))
				x->p++;
			t->str = (struct linnet_str){ p, x->p - p };
		} else {
			ret = lex_op(x, &nesting);
		}
	}
	return ret;
}

/* Where "{%- name -%}" ends when that is what p begins with, else NULL. */
static const char *bare_tag(const char *p, const char *end, const char *name, char *first,
			    char *last)
{
	size_t n = strlen(name);

	*first = *last = 0;
	p += 2;
	if (p < end && (*p == '-' || *p == '+'))
		*first = *p++;
	while (p < end && is_blank(*p))
		p++;
	if ((size_t)(end - p) < n || memcmp(p, name, n))
		return NULL;
	p += n;
	while (p < end && is_blank(*p))
		p++;
	if (p < end && (*p == '-' || *p == '+'))
		*last = *p++;
	return end - p >= 2 && p[0] == '%' && p[1] == '}' ? p + 2 : NULL;
}

/*
 * Text from start up to a tag at x->p with this sign. line_start: what came before
 * start ended a line.
 */
static int add_text(struct lexer *x, const char *start, const char *stop, char sign, bool lstrip,
		    bool line_start)
{
	struct jinja_token *t;
	const char *p = stop;

	if (sign == '-') {
		/* Back over whole characters: go forward and remember the last other. */
		const char *keep = start;

		for (p = start; p < stop;) {
			size_t len = jinja_char_len(p, stop - p);

			if (!jinja_is_space(p, stop - p))
				keep = p + len;
			p += len;
		}
		stop = keep;
	} else if (lstrip && sign != '+') {
		while (p > start && is_blank(p[-1]) && p[-1] != '\n')
			p--;
		if (p > start ? p[-1] == '\n' : line_start)
			stop = p;
	}
	if (stop == start)
		return 0;
	t = add(x, LEX_TEXT);
	if (!t)
		return -ENOMEM;
	t->str = (struct linnet_str){ start, stop - start };
	return 0;
}

static int lex_raw(struct lexer *x, const char *body, char after)
{
	char first, last;
	bool line_start;
	const char *start, *stop, *end;
	int ret;

	advance(x, body);
	trim_after(x, after, false);
	start = x->p;
	line_start = start[-1] == '\n';
	for (stop = start;; stop++) {
		stop = memmem(stop, x->end - stop, "{%", 2);
		if (!stop)
			return lex_error(x, "{% raw %} has no {% endraw %}");
		end = bare_tag(stop, x->end, "endraw", &first, &last);
		if (end)
			break;
	}
	ret = add_text(x, start, stop, first, true, line_start);
	if (ret)
		return ret;
	advance(x, end);
	trim_after(x, last, true);
	return 0;
}

static int lex_template(struct lexer *x)
{
	int ret;

	for (;;) {
		const char *start = x->p, *p = start, *raw;
		bool line_start = start[-1] == '\n', block;
		char sign = 0, last;

		if (start == x->end)
			break;
		for (;; p++) {
			p = memchr(p, '{', x->end - p);
			if (!p || p + 1 == x->end) {
				p = x->end;
				break;
			}
			if (p[1] == '{' || p[1] == '%' || p[1] == '#')
				break;
		}
		if (p == x->end) {
			ret = add_text(x, start, p, 0, false, line_start);
			if (ret)
				return ret;
			advance(x, p);
			break;
		}
		block = p[1] != '{';
		if (p + 2 < x->end && (p[2] == '-' || (block && p[2] == '+')))
			sign = p[2];
		ret = add_text(x, start, p, sign, block, line_start);
		if (ret)
			return ret;
		advance(x, p);
		if (p[1] == '#') {
			const char *end = memmem(p + 2, x->end - p - 2, "#}", 2);

			if (!end)
				return lex_error(x, "{# has no #}");
			last = end > p + 2 && (end[-1] == '-' || end[-1] == '+') ? end[-1] : 0;
			advance(x, end + 2);
			trim_after(x, last, true);
			continue;
		}
		raw = block ? bare_tag(p, x->end, "raw", &sign, &last) : NULL;
		if (raw) {
			ret = lex_raw(x, raw, last);
			if (ret)
				return ret;
			continue;
		}
		if (!add(x, block ? LEX_BLOCK : LEX_PRINT))
			return -ENOMEM;
		x->p += sign ? 3 : 2;
		ret = lex_tag(x, block);
		if (ret)
			return ret;
	}
	return add(x, LEX_END) ? 0 : -ENOMEM;
}

int jinja_lex(struct jinja *j, const char *p, size_t n, struct jinja_token **tokens)
{
	struct lexer x = { .j = j, .line = 1 };
	char *copy, *q;
	int ret;

	/*
	 * Line breaks of any kind are one; the last of the template is not text. The
	 * one before it makes the template's start a line's start.
	 */
	copy = jinja_alloc(j, n + 2, 1);
	if (!copy)
		return -ENOMEM;
	*copy++ = '\n';
	q = copy;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n')
			continue;
		*q++ = p[i] == '\r' ? '\n' : p[i];
	}
	if (q > copy && q[-1] == '\n')
		q--;
	x.p = copy;
	x.end = q;
	ret = lex_template(&x);
	if (ret) {
		free(x.token);
		return ret;
	}
	*tokens = x.token;
	return 0;
}
