// SPDX-License-Identifier: MIT
/*
 * Keeps the detokenizer of linnet.h: bytes of tokens go in, whole characters come
 * out. What cannot become UTF-8 is replaced as Unicode recommends: each longest
 * start of a character, or else each byte, by one U+FFFD.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vocab.h"

struct linnet_detok {
	const struct linnet_tokenizer *t;
	bool special;
	bool at_start;		/* a leading space is still to be dropped */
	char *in;		/* bytes not given out yet: the start of a character */
	size_t n_in, in_cap;
	char *out;
	size_t out_cap;
};

int linnet_tokenizer_detok(struct linnet_detok **out, const struct linnet_tokenizer *t,
			   bool special, bool drop_lead)
{
	struct linnet_detok *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->t = t;
	d->special = special;
	d->at_start = drop_lead && t->kind == VOCAB_SPM && t->add_space_prefix;
	*out = d;
	return 0;
}

void linnet_detok_destroy(struct linnet_detok *d)
{
	if (!d)
		return;
	free(d->in);
	free(d->out);
	free(d);
}

static int reserve(char **p, size_t *cap, size_t n)
{
	char *bigger;

	if (n <= *cap)
		return 0;
	bigger = realloc(*p, n);
	if (!bigger)
		return -ENOMEM;
	*p = bigger;
	*cap = n;
	return 0;
}

/* Bytes at p that begin a character but end before it does. */
static bool is_cut(const char *p, size_t n)
{
	static const char rest[][3] = { "\x80\x80\x80", "\xA0\x80\x80", "\x90\x80\x80" };
	char whole[4];
	uint32_t ch;

	if (n > 3)
		return false;
	/* One of these continuations is valid after every start that is. */
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		memcpy(whole, p, n);
		memcpy(whole + n, rest[i], 4 - n);
		if ((size_t)utf8_char(whole, 4, &ch) > n)
			return true;
	}
	return false;
}

static int take(struct linnet_detok *d, bool last, const char **text)
{
	size_t at = 0, n = 0;

	/* The worst is a replacement of three bytes for each byte. */
	if (reserve(&d->out, &d->out_cap, 3 * d->n_in + 1))
		return -ENOMEM;
	while (at < d->n_in) {
		size_t left = d->n_in - at, len;
		uint32_t ch;

		len = utf8_char(d->in + at, left, &ch);
		if (len) {
			memcpy(d->out + n, d->in + at, len);
			n += len;
			at += len;
			continue;
		}
		if (!last && is_cut(d->in + at, left))
			break;
		for (len = left < 3 ? left : 3; len > 1 && !is_cut(d->in + at, len); len--)
			;
		memcpy(d->out + n, "\xEF\xBF\xBD", 3);
		n += 3;
		at += len;
	}
	d->n_in -= at;
	memmove(d->in, d->in + at, d->n_in);
	d->out[n] = '\0';
	*text = d->out;
	return n;
}

int linnet_detok_push(struct linnet_detok *d, int32_t id, const char **text)
{
	int n = linnet_tokenizer_text(d->t, id, d->special, NULL, 0);

	if (n < 0)
		return n;
	if (reserve(&d->in, &d->in_cap, d->n_in + n + 1))
		return -ENOMEM;
	linnet_tokenizer_text(d->t, id, d->special, d->in + d->n_in, n);
	if (d->at_start && n && vocab_type(d->t, id) != TOKEN_CONTROL) {
		d->at_start = false;
		/* No byte is pending before the first one. */
		if (d->in[d->n_in] == ' ')
			memmove(d->in + d->n_in, d->in + d->n_in + 1, --n);
	}
	d->n_in += n;
	return take(d, false, text);
}

int linnet_detok_flush(struct linnet_detok *d, const char **text)
{
	if (reserve(&d->in, &d->in_cap, 1))
		return -ENOMEM;
	return take(d, true, text);
}
