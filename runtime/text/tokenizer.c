// SPDX-License-Identifier: MIT
/*
 * Keeps tokenizer.h: finds the special tokens of a text, has the rest encoded,
 * and turns tokens back into bytes.
 */
#include "vocab.h"

#include <errno.h>

#define MAX_TEXT_BYTES (1u << 30)

size_t linnet_tokenizer_memory(const struct linnet_tokenizer *t)
{
	return t->bytes;
}

uint32_t linnet_tokenizer_n_vocab(const struct linnet_tokenizer *t)
{
	return t->n_tokens;
}

int32_t linnet_tokenizer_bos(const struct linnet_tokenizer *t)
{
	return t->bos;
}

int32_t linnet_tokenizer_eos(const struct linnet_tokenizer *t)
{
	return t->eos;
}

bool linnet_tokenizer_is_end(const struct linnet_tokenizer *t, int32_t id)
{
	return id >= 0 && (uint32_t)id < t->n_tokens && t->attr[id] & TOKEN_END;
}

/*
 * The longest special token that the text begins with, or VOCAB_NONE. Walks down
 * the sorted list as if it were a tree: [low, high) are the tokens that begin
 * with the first `depth` bytes of the text, shortest first.
 */
static int32_t find_special(const struct linnet_tokenizer *t, const char *text, size_t n,
			    bool control)
{
	uint32_t low = t->special_start[(uint8_t)*text];
	uint32_t high = t->special_start[(uint8_t)*text + 1];
	int32_t found = VOCAB_NONE;

	for (size_t depth = 1; low < high; depth++) {
		const struct linnet_str *s = &t->token[t->special[low]];
		uint32_t a, b;

		if (s->n == depth) {
			if (control || vocab_type(t, t->special[low]) == TOKEN_USER_DEFINED)
				found = t->special[low];
			low++;
		}
		if (depth >= n)
			break;
		/* The first whose next byte is not less, and the first whose is more. */
		for (a = low, b = high; a < b;) {
			uint32_t mid = a + (b - a) / 2;

			if ((uint8_t)t->token[t->special[mid]].p[depth] < (uint8_t)text[depth])
				a = mid + 1;
			else
				b = mid;
		}
		low = a;
		for (b = high; a < b;) {
			uint32_t mid = a + (b - a) / 2;

			if ((uint8_t)t->token[t->special[mid]].p[depth] <= (uint8_t)text[depth])
				a = mid + 1;
			else
				b = mid;
		}
		high = a;
	}
	return found;
}

static bool is_ascii_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int encode_text(struct encoder *e, const char *text, size_t n, bool space_prefix)
{
	if (!n)
		return 0;
	if (e->t->kind == VOCAB_SPM)
		return encode_spm(e, text, n, space_prefix);
	return encode_bpe(e, text, n);
}

int64_t linnet_tokenizer_encode(const struct linnet_tokenizer *t, const char *text, size_t n,
				unsigned flags, int32_t *ids, size_t cap)
{
	struct encoder e = { .t = t, .ids = ids, .cap = cap };
	bool control = flags & LINNET_TOKENIZE_PARSE;
	bool prefix = t->add_space_prefix;
	int32_t last = VOCAB_NONE;
	size_t at = 0, done = 0;
	int ret = 0;

	if (n > MAX_TEXT_BYTES)
		return -E2BIG;
	if (flags & LINNET_TOKENIZE_SPECIAL && t->add_bos && t->bos >= 0 &&
	    !(n && control && find_special(t, text, n, true) == t->bos))
		encoder_emit(&e, t->bos);

	while (at < n && !ret) {
		int32_t id = find_special(t, text + at, n - at, control);

		if (id < 0) {
			at++;
			continue;
		}
		ret = encode_text(&e, text + done, at - done, prefix);
		encoder_emit(&e, id);
		last = id;
		prefix = t->add_space_prefix;
		at += t->token[id].n;
		if (t->attr[id] & TOKEN_RSTRIP) {
			while (at < n && is_ascii_space(text[at]))
				at++;
		}
		done = at;
	}
	if (!ret && done < n) {
		last = VOCAB_NONE;
		ret = encode_text(&e, text + done, n - done, prefix);
	}
	if (!ret && flags & LINNET_TOKENIZE_SPECIAL && t->add_eos && t->eos >= 0 && last != t->eos)
		encoder_emit(&e, t->eos);
	encoder_release(&e);
	return ret ? ret : (int64_t)e.count;
}

static void put(char *buf, size_t cap, size_t *n, char c)
{
	if (*n < cap)
		buf[*n] = c;
	++*n;
}

int linnet_tokenizer_text(const struct linnet_tokenizer *t, int32_t id, bool special, char *buf,
			  size_t cap)
{
	const struct linnet_str *s;
	size_t n = 0;

	if (id < 0 || (uint32_t)id >= t->n_tokens)
		return -EINVAL;
	s = &t->token[id];
	switch (vocab_type(t, id)) {
	case TOKEN_UNUSED:
		return 0;
	case TOKEN_UNKNOWN:
	case TOKEN_CONTROL:
		if (!special)
			return 0;
		/* fallthrough */
	case TOKEN_USER_DEFINED:
		for (size_t i = 0; i < s->n; i++)
			put(buf, cap, &n, s->p[i]);
		return n;
	case TOKEN_BYTE:
		put(buf, cap, &n, vocab_byte_token(s));
		return n;
	case TOKEN_UNDEFINED:
	case TOKEN_NORMAL:
		break;
	}
	for (size_t at = 0; at < s->n;) {
		uint32_t ch;
		size_t len = utf8_char(s->p + at, s->n - at, &ch);
		int byte;

		if (len && t->kind == VOCAB_SPM && ch == 0x2581) {
			put(buf, cap, &n, ' ');
			at += len;
			continue;
		}
		byte = len && t->kind == VOCAB_BPE ? byte_level_decode(ch) : -1;
		if (byte >= 0) {
			put(buf, cap, &n, byte);
			at += len;
			continue;
		}
		for (len = len ? len : 1; len; len--)
			put(buf, cap, &n, s->p[at++]);
	}
	return n;
}
