// SPDX-License-Identifier: MIT
/*
 * Fuzz target: runtime/text/tokenizer.h with a hostile vocabulary and any text. Input:
 * kind, pre-tokenizer, flags, then up to three parts divided by 0xff bytes: tokens (a line
 * each: a character for the type, the text), merges (a line each), the text.
 */
#include "fuzz.h"

#include "runtime/text/pretokenize.h"
#include "runtime/text/tokenizer.h"
#include "tests/gguf_writer.h"

#include <errno.h>
#include <string.h>

struct lines {
	const uint8_t *p, *end;
};

/* The bytes up to the next mark, which is skipped. */
static struct lines part(const uint8_t **p, const uint8_t *end)
{
	struct lines l = { *p, *p };

	while (l.end < end && *l.end != 0xff)
		l.end++;
	*p = l.end < end ? l.end + 1 : end;
	return l;
}

/* The next line without its end; false when there is none. */
static bool line(struct lines *l, const uint8_t **p, size_t *n)
{
	if (l->p >= l->end)
		return false;
	*p = l->p;
	while (l->p < l->end && *l->p != '\n')
		l->p++;
	*n = (size_t)(l->p - *p);
	l->p++;
	return true;
}

static size_t count(struct lines l)
{
	const uint8_t *p;
	size_t n, lines = 0;

	while (line(&l, &p, &n))
		lines++;
	return lines;
}

static struct bytes vocabulary(const uint8_t *head, struct lines tokens, struct lines merges)
{
	static const char *const kinds[] = { "llama", "gpt2", "llama", "gpt2", "bert" };
	struct gguf_file f;
	struct lines l;
	const uint8_t *p;
	size_t n, pres = 0;
	float score = 0;

	while (pretokenizer_name(pres))
		pres++;
	gguf_init(&f);
	gguf_kv_str(&f, "tokenizer.ggml.model", kinds[head[0] % 5]);
	if (head[0] & 0x80)
		gguf_kv_str(&f, "tokenizer.ggml.pre", "no-such-name");
	else if (head[1] != 0xfe)
		gguf_kv_str(&f, "tokenizer.ggml.pre", pretokenizer_name(head[1] % pres));
	gguf_kv_array(&f, "tokenizer.ggml.tokens", 8, count(tokens));
	for (l = tokens; line(&l, &p, &n);)
		put_strn(&f.kv, (const char *)p + (n > 0), n ? n - 1 : 0);
	if (!(head[2] & 1)) {
		gguf_kv_array(&f, "tokenizer.ggml.token_type", 5, count(tokens));
		for (l = tokens; line(&l, &p, &n);)
			put_u32(&f.kv, n ? p[0] % 16 : 1);
	}
	if (!(head[2] & 2)) {
		gguf_kv_array(&f, "tokenizer.ggml.scores", 6, count(tokens));
		for (l = tokens; line(&l, &p, &n); score -= 1) {
			if (n && p[0] & 0x40)
				put_u32(&f.kv, 0x7f800000u | (uint32_t)p[0] << 8);
			else
				put(&f.kv, &score, 4);
		}
	}
	gguf_kv_array(&f, "tokenizer.ggml.merges", 8, count(merges));
	for (l = merges; line(&l, &p, &n);)
		put_strn(&f.kv, (const char *)p, n);
	gguf_kv_u32(&f, "tokenizer.ggml.bos_token_id", head[2] >> 2 & 3);
	gguf_kv_u32(&f, "tokenizer.ggml.eos_token_id", head[2] >> 4 & 3);
	if (head[2] & 0x40) {
		gguf_entry(&f, "tokenizer.ggml.add_bos_token", 7);
		put_u8(&f.kv, 1);
	}
	if (head[2] & 0x80) {
		gguf_entry(&f, "tokenizer.ggml.add_eos_token", 7);
		put_u8(&f.kv, 1);
	}
	return gguf_bytes(&f);
}

static void decode(const struct linnet_tokenizer *t, const int32_t *ids, size_t n)
{
	struct linnet_detok *d;
	const char *text;
	char buf[64];
	int len, again;

	must(!linnet_tokenizer_detok(&d, t, n & 1, n & 2));
	for (size_t i = 0; i < n; i++) {
		must(ids[i] >= 0 && (uint32_t)ids[i] < linnet_tokenizer_n_vocab(t));
		len = linnet_tokenizer_text(t, ids[i], i & 1, buf, sizeof(buf));
		again = linnet_tokenizer_text(t, ids[i], i & 1, NULL, 0);
		must(len >= 0 && len == again);
		must(linnet_detok_push(d, ids[i], &text) >= 0);
	}
	must(linnet_detok_flush(d, &text) >= 0);
	linnet_detok_destroy(d);
	must(linnet_tokenizer_text(t, -1, true, buf, sizeof(buf)) == -EINVAL);
	must(linnet_tokenizer_text(t, (int32_t)linnet_tokenizer_n_vocab(t), true, buf,
				   sizeof(buf)) == -EINVAL);
}

static void encode(const struct linnet_tokenizer *t, const char *text, size_t n, unsigned flags)
{
	int64_t count, again;
	int32_t *ids;
	char *copy;

	/* a block of its own, so that reads past its end are seen */
	copy = malloc(n ? n : 1);
	must(copy);
	memcpy(copy, text, n);
	count = linnet_tokenizer_encode(t, copy, n, flags, NULL, 0);
	must(count >= 0 || count == -EILSEQ || count == -ENOTSUP);
	if (count >= 0) {
		must((size_t)count <= 6 * n + 8);
		ids = malloc(((size_t)count + 1) * sizeof(*ids));
		must(ids);
		again = linnet_tokenizer_encode(t, copy, n, flags, ids, (size_t)count);
		must(again == count);
		decode(t, ids, (size_t)count);
		free(ids);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct lines tokens, merges;
	struct linnet_error err = { 0 };
	struct linnet_tokenizer *t = NULL;
	struct linnet_gguf *g;
	const uint8_t *p = data + 3, *end = data + n;
	struct bytes b;
	int ret;

	if (n < 3)
		return 0;
	tokens = part(&p, end);
	merges = part(&p, end);
	b = vocabulary(data, tokens, merges);
	must(!linnet_gguf_open(&g, fuzz_file(0, b.p, b.n), &err));
	ret = linnet_tokenizer_create(&t, g, &err);
	if (ret) {
		must(ret < 0 && !t && (ret == -ENOENT || *err.message));
	} else {
		for (unsigned flags = 0; flags < 4; flags++)
			encode(t, (const char *)p, (size_t)(end - p), flags);
		linnet_tokenizer_destroy(t);
	}
	linnet_gguf_close(g);
	free(b.p);
	return 0;
}
