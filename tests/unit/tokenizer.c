// SPDX-License-Identifier: MIT
/*
 * Tokenizers: published pairs of text and ids, that decoding undoes encoding for
 * any bytes, special tokens, long texts, and vocabularies that are damaged.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/format/gguf.h"
#include "runtime/text/pretokenize.h"
#include "runtime/text/tokenizer.h"
#include "tests/gguf_writer.h"
#include "tests/test.h"

#define K(name) "tokenizer.ggml." name
#define N(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/linnet-tokenizer-XXXXXX";

/* ------------------------------------------------------------------ tools */

static uint64_t rng_state = 88172645463325252u;

static uint32_t rng(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (rng_state >> 32) % below;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static struct bytes read_file(const char *path)
{
	struct bytes b = { 0 };
	char buf[65536];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return b;
	while ((n = fread(buf, 1, sizeof(buf), f)))
		put(&b, buf, n);
	fclose(f);
	put_u8(&b, 0);
	b.n--;
	return b;
}

struct vocab {
	struct linnet_gguf *g;
	struct linnet_tokenizer *t;
};

static int vocab_open(struct vocab *v, const char *path, struct linnet_error *err)
{
	int ret;

	*v = (struct vocab) { 0 };
	ret = linnet_gguf_open(&v->g, path, err);
	if (ret)
		return ret;
	ret = linnet_tokenizer_create(&v->t, v->g, err);
	if (ret) {
		linnet_gguf_close(v->g);
		v->g = NULL;
	}
	return ret;
}

static void vocab_close(struct vocab *v)
{
	linnet_tokenizer_destroy(v->t);
	linnet_gguf_close(v->g);
	*v = (struct vocab) { 0 };
}

/* Write the entries to a file of the temporary folder and open it. */
static int vocab_from(struct vocab *v, struct gguf_file *f, struct linnet_error *err)
{
	char path[64];
	struct bytes b;
	int ret;

	gguf_kv_str(f, "general.architecture", "llama");
	b = gguf_bytes(f);
	snprintf(path, sizeof(path), "%s/v.gguf", dir);
	if (write_file(path, b.p, b.n)) {
		perror(path);
		exit(1);
	}
	free(b.p);
	ret = vocab_open(v, path, err);
	unlink(path);
	return ret;
}

struct ids {
	int32_t *p;
	int64_t n;
};

static struct ids encode(const struct vocab *v, const char *text, size_t n, unsigned flags)
{
	struct ids r;
	size_t cap = n * 3 + 16;

	r.p = malloc(cap * sizeof(*r.p));
	if (!r.p)
		abort();
	r.n = linnet_tokenizer_encode(v->t, text, n, flags, r.p, cap);
	if (r.n > (int64_t)cap)
		abort();
	return r;
}

/* All bytes of the tokens. */
static struct bytes decode(const struct vocab *v, const struct ids *ids, bool special)
{
	struct bytes b = { 0 };

	for (int64_t i = 0; i < ids->n; i++) {
		char buf[4096];
		int n = linnet_tokenizer_text(v->t, ids->p[i], special, buf, sizeof(buf));

		if (n < 0 || n > (int)sizeof(buf))
			abort();
		put(&b, buf, n);
	}
	put_u8(&b, 0);
	b.n--;
	return b;
}

/* Does the text encode to exactly these ids? The list ends with -1. */
static bool ids_are(const struct vocab *v, const char *text, unsigned flags, const int32_t *want)
{
	struct ids r = encode(v, text, strlen(text), flags);
	int64_t n = 0;
	bool ok;

	while (want[n] >= 0)
		n++;
	ok = r.n == n && !memcmp(r.p, want, n * sizeof(*want));
	if (!ok) {
		printf("# '%s':", text);
		for (int64_t i = 0; i < r.n; i++)
			printf(" %d", r.p[i]);
		printf(r.n < 0 ? " error %ld\n" : "\n", (long)r.n);
	}
	free(r.p);
	return ok;
}

#define IDS(...) (const int32_t[]){ __VA_ARGS__, -1 }
#define NO_IDS ((const int32_t[]){ -1 })

/* ------------------------------------------------------- published pairs */

static void test_pairs(const char *name, const struct vocab *v)
{
	static const char separator[] = "\n__ggml_vocab_test__\n";
	struct bytes in, out;
	char path[128], *text, *line;
	int count = 0, wrong = 0;

	snprintf(path, sizeof(path), "tokenizer/ggml-vocab-%s.gguf.inp", name);
	in = read_file(test_data(path));
	snprintf(path, sizeof(path), "tokenizer/ggml-vocab-%s.gguf.out", name);
	out = read_file(test_data(path));
	if (!in.n || !out.n) {
		test_skip(name, "its pairs are not in the test data");
		goto out;
	}
	text = (char *)in.p;
	line = (char *)out.p;
	for (;;) {
		char *end = strstr(text, separator), *eol = strchr(line, '\n'), *p = line;
		struct ids r;
		int64_t i;

		if (!end || !eol)
			break;
		r = encode(v, text, end - text, 0);
		for (i = 0; i < r.n; i++) {
			char *after;
			long want = strtol(p, &after, 10);

			if (after > eol || after == p || want != r.p[i])
				break;
			p = after;
		}
		count++;
		if (i != r.n || p + strspn(p, " ") != eol) {
			printf("# %s: text %d: token %ld differs\n", name, count, (long)i);
			wrong++;
		}
		free(r.p);
		text = end + strlen(separator);
		line = eol + 1;
	}
	test_ok(count > 0 && !wrong && text == (char *)in.p + in.n && line == (char *)out.p + out.n,
		"%s: %d of %d published texts", name, count - wrong, count);
out:
	free(in.p);
	free(out.p);
}

/* ------------------------------------------------------------- any bytes */

static bool round_trip(const struct vocab *v, const char *text, size_t n, bool lead)
{
	struct ids r = encode(v, text, n, 0);
	struct bytes b;
	bool ok;

	if (r.n < 0) {
		printf("# error %ld for %zu bytes\n", (long)r.n, n);
		free(r.p);
		return false;
	}
	b = decode(v, &r, false);
	if (lead && n && b.n)
		ok = b.p[0] == ' ' && b.n == n + 1 && !memcmp(b.p + 1, text, n);
	else
		ok = b.n == n && !memcmp(b.p, text, n);
	if (!ok) {
		printf("# %zu bytes come back as %zu:", n, b.n);
		for (size_t i = 0; i < n && i < 64; i++)
			printf(" %02x", (uint8_t)text[i]);
		printf("\n");
	}
	free(b.p);
	free(r.p);
	return ok;
}

static void test_round_trip(const char *name, const struct vocab *v, bool lead, bool any_bytes)
{
	static const char *const pool[] = {
		"a", "B", " ", "  ", "\n", "\r\n", "\t", "1", "23", "'s", "'LL", "!", "<|", "é", "ß",
		"ẞ", "日", "本", "한", "\xF0\x9F\x98\x80", "\xCC\x81", "\xC2\xA0", "\xE1\xA0\x8E",
		"\xE2\x80\xA8", "\xC2\x85", "\xEF\xBF\xBD", "the", " quick", "…", "。",
		"\xF4\x8F\xBF\xBF",
	};
	static const char *const broken[] = {
		"\xFF", "\x80", "\xC0\x80", "\xED\xA0\x80", "\xE2\x96", "\xF0\x9F", "\xF5", "\xC3",
		"\0",
	};
	bool ok = true;

	for (int i = 0; i < 3000 && ok; i++) {
		char text[2048];
		size_t n = 0, parts = rng(60);

		while (parts--) {
			uint32_t k = rng(N(pool) + N(broken));
			const char *s;

			if (any_bytes && k >= N(pool) && !rng(2)) {
				text[n++] = rng(256);
				continue;
			}
			if (k >= N(pool) && !any_bytes)
				k = rng(N(pool));
			s = k < N(pool) ? pool[k] : broken[k - N(pool)];
			memcpy(text + n, s, strlen(s));
			n += strlen(s);
			if (!*s)
				text[n++] = 0;
		}
		ok = round_trip(v, text, n, lead);
	}
	test_ok(ok, "%s: decoding undoes encoding of random %s", name,
		any_bytes ? "bytes" : "UTF-8");
	for (int i = 0; any_bytes && ok && i < 256; i++) {
		char c = i;

		ok = round_trip(v, &c, 1, lead);
	}
	if (any_bytes)
		test_ok(ok, "%s: every byte alone", name);
}

/* Whole texts at once and in slices through cap must agree. */
static void test_cap(const char *name, const struct vocab *v)
{
	static const char text[] = "Hello, world! 12345 and more\n\n  text";
	struct ids all = encode(v, text, sizeof(text) - 1, LINNET_TOKENIZE_SPECIAL);
	bool ok = all.n > 4;

	for (int64_t cap = 0; cap <= all.n && ok; cap++) {
		int32_t *ids = malloc((cap + 1) * sizeof(*ids));

		ids[cap] = -77;
		ok = linnet_tokenizer_encode(v->t, text, sizeof(text) - 1, LINNET_TOKENIZE_SPECIAL,
					     cap ? ids : NULL, cap) == all.n &&
		     !memcmp(ids, all.p, cap * sizeof(*ids)) && ids[cap] == -77;
		free(ids);
	}
	test_ok(ok, "%s: the count is right and no more than cap is written", name);
	free(all.p);
}

static void test_time(const char *name, const struct vocab *v)
{
	static const char *const units[] = {
		"a", " ", "\n", "A", "1", "!", "é", "日", "\xFF", " a", "\t\n", "ab", "aB", "=", "'s",
	};
	struct linnet_tokenizer *t = v->t;
	const char *path = test_data("text/wikitext-2-test.txt");
	char *text = malloc(1 << 20);
	double worst = 0, start;

	for (size_t k = 0; k < N(units); k++) {
		size_t len = strlen(units[k]), n = 0;
		int64_t count;

		while (n + len <= 1 << 20) {
			memcpy(text + n, units[k], len);
			n += len;
		}
		start = seconds();
		count = linnet_tokenizer_encode(t, text, n, 0, NULL, 0);
		start = seconds() - start;
		if (count <= 0)
			worst = INFINITY;
		if (start > worst)
			worst = start;
	}
	test_ok(worst < 10, "%s: 1 MiB of one thing takes %.2f s at most", name, worst);
	free(text);

	if (path) {
		struct bytes b = read_file(path);
		double best = INFINITY;
		int64_t count = 0;

		for (int i = 0; i < 3; i++) {
			start = seconds();
			count = linnet_tokenizer_encode(t, (char *)b.p, b.n, 0, NULL, 0);
			start = seconds() - start;
			best = start < best ? start : best;
		}
		test_ok(count > 0, "%s: WikiText at %.1f MB/s, %.2f bytes a token", name,
			b.n / best / 1e6, (double)b.n / count);
		free(b.p);
	}
}

/* ------------------------------------------------------------ Qwen2's files */

static void put_utf8(struct bytes *b, uint32_t c)
{
	if (c < 0x80) {
		put_u8(b, c);
	} else if (c < 0x800) {
		put_u8(b, 0xC0 | c >> 6);
		put_u8(b, 0x80 | (c & 0x3F));
	} else {
		put_u8(b, 0xE0 | c >> 12);
		put_u8(b, 0x80 | (c >> 6 & 0x3F));
		put_u8(b, 0x80 | (c & 0x3F));
	}
}

/* {"text":id,...} with the ids counting up from 0, as Qwen2's vocab.json is. */
static uint64_t put_json_vocab(struct bytes *out, const char *json)
{
	uint64_t n = 0;
	struct bytes s = { 0 };

	while ((json = strchr(json, '"'))) {
		s.n = 0;
		for (json++; *json && *json != '"'; json++) {
			if (*json != '\\') {
				put_u8(&s, *json);
			} else if (*++json == 'u') {
				char hex[5] = { 0 };

				memcpy(hex, json + 1, 4);
				put_utf8(&s, strtoul(hex, NULL, 16));
				json += 4;
			} else {
				put_u8(&s, *json);
			}
		}
		if (strtoull(json + 2, NULL, 10) != n)
			return 0;
		put_strn(out, (char *)s.p, s.n);
		n++;
		json += 2;
	}
	free(s.p);
	return n;
}

static int qwen2_open(struct vocab *v, struct linnet_error *err)
{
	struct bytes json = { 0 }, merges, list = { 0 };
	struct gguf_file f;
	uint64_t n, n_merges = 0;
	char *line, *end;

	if (test_data("tokenizer/qwen2/vocab.json"))
		json = read_file(test_data("tokenizer/qwen2/vocab.json"));
	if (!json.n)
		return -ENOENT;
	merges = read_file(test_data("tokenizer/qwen2/merges.txt"));

	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "gpt2");
	gguf_kv_str(&f, K("pre"), "qwen2");
	n = put_json_vocab(&list, (char *)json.p);
	put_str(&list, "<|endoftext|>");
	put_str(&list, "<|im_start|>");
	put_str(&list, "<|im_end|>");
	gguf_kv_array(&f, K("tokens"), 8, n + 3);
	put(&f.kv, list.p, list.n);
	gguf_kv_array(&f, K("token_type"), 5, n + 3);
	for (uint64_t i = 0; i < n + 3; i++)
		put_u32(&f.kv, i < n ? 1 : 3);
	list.n = 0;
	/* After the line with the version. */
	line = strchr((char *)merges.p, '\n') + 1;
	for (; (end = strchr(line, '\n')) || *line; line = end + 1) {
		if (!end)
			end = line + strlen(line);
		put_strn(&list, line, end - line);
		n_merges++;
		if (!*end)
			break;
	}
	gguf_kv_array(&f, K("merges"), 8, n_merges);
	put(&f.kv, list.p, list.n);
	gguf_kv_u32(&f, K("eos_token_id"), n + 2);
	free(json.p);
	free(merges.p);
	free(list.p);
	return vocab_from(v, &f, err);
}

/* ---------------------------------------------------- small vocabularies */

struct row {
	const char *text;
	float score;
	int32_t type;
};

static void put_rows(struct gguf_file *f, const struct row *rows, size_t n)
{
	gguf_kv_array(f, K("tokens"), 8, n);
	for (size_t i = 0; i < n; i++)
		put_str(&f->kv, rows[i].text);
	gguf_kv_array(f, K("scores"), 6, n);
	for (size_t i = 0; i < n; i++)
		put(&f->kv, &rows[i].score, 4);
	gguf_kv_array(f, K("token_type"), 5, n);
	for (size_t i = 0; i < n; i++)
		put_u32(&f->kv, rows[i].type);
}

#define SP "\xE2\x96\x81"

static const struct row small[] = {
	{ "<unk>", 0, 2 },	{ "<s>", 0, 3 },	{ "</s>", 0, 3 },
	{ SP, -20, 1 },		{ "a", -21, 1 },	{ "b", -22, 1 },
	{ "ab", -2, 1 },	{ "ba", -2, 1 },	{ SP "a", -5, 1 },
	{ "<|x|>", 0, 4 },	{ "<|xy|>", 0, 4 },	{ "s", -30, 1 },
	{ "<", -31, 1 },	{ ">", -32, 1 },	{ "<s", -1, 1 },
	{ "s>", -1, 1 },	{ "<0x41>", 0, 6 },	{ "", 0, 1 },
	{ "gone", 0, 5 },	{ "<end_of_turn>", 0, 3 },
};

static void test_special(void)
{
	struct linnet_error err;
	struct gguf_file f;
	struct vocab v;
	const unsigned special = LINNET_TOKENIZE_SPECIAL, parse = LINNET_TOKENIZE_PARSE;
	char buf[16];

	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	put_rows(&f, small, N(small));
	if (!test_ok(!vocab_from(&v, &f, &err), "small vocabulary opens"))
		return;
	test_ok(linnet_tokenizer_bos(v.t) == 1 && linnet_tokenizer_eos(v.t) == 2 &&
		linnet_tokenizer_n_vocab(v.t) == N(small), "BOS and EOS where they usually are");
	test_ok(linnet_tokenizer_is_end(v.t, 2) && linnet_tokenizer_is_end(v.t, 19) &&
		!linnet_tokenizer_is_end(v.t, 1) && !linnet_tokenizer_is_end(v.t, -1) &&
		!linnet_tokenizer_is_end(v.t, N(small)), "tokens that end a generation");
	test_ok(ids_are(&v, "", 0, NO_IDS), "nothing is no tokens");
	test_ok(ids_are(&v, "", special, IDS(1)), "nothing with BOS");
	test_ok(ids_are(&v, "ab", 0, IDS(3, 6)), "the higher score merges first");
	test_ok(ids_are(&v, "aab", special, IDS(1, 8, 6)), "then the lower one");
	test_ok(ids_are(&v, "bab", 0, IDS(3, 7, 5)), "of equal scores the leftmost");
	test_ok(ids_are(&v, "a\xC3\xA9" "A", 0, IDS(8, 0, 16)), "unknown character, byte token");
	test_ok(ids_are(&v, "<s>", 0, IDS(3, 14, 13)), "text never becomes a control token");
	test_ok(ids_are(&v, "<s>", parse, IDS(1)), "unless asked for");
	test_ok(ids_are(&v, "<s>a", parse | special, IDS(1, 8)), "BOS in the text is not doubled");
	test_ok(ids_are(&v, "a<s>a", parse | special, IDS(1, 8, 1, 8)),
		"a space before text after a control token");
	test_ok(ids_are(&v, "b<|xy|><|x|><|x", 0, IDS(3, 5, 10, 9, 3, 12, 0, 0)),
		"user-defined tokens always, the longest first");
	test_ok(ids_are(&v, "gone", parse, IDS(3, 0, 0, 0, 0)),
		"merging goes through tokens, even to an unused one");
	test_ok(linnet_tokenizer_text(v.t, 1, false, buf, sizeof(buf)) == 0 &&
		linnet_tokenizer_text(v.t, 1, true, buf, sizeof(buf)) == 3 &&
		!memcmp(buf, "<s>", 3), "a control token's text is empty, or its name");
	test_ok(linnet_tokenizer_text(v.t, 16, false, buf, sizeof(buf)) == 1 && buf[0] == 'A',
		"a byte token's text");
	memset(buf, '#', sizeof(buf));
	test_ok(linnet_tokenizer_text(v.t, 8, false, buf, 1) == 2 && buf[0] == ' ' &&
		buf[1] == '#', "a text that is cut");
	test_ok(linnet_tokenizer_text(v.t, 17, true, buf, sizeof(buf)) == 0, "an empty token");
	test_ok(linnet_tokenizer_text(v.t, -1, true, buf, sizeof(buf)) == -EINVAL &&
		linnet_tokenizer_text(v.t, N(small), true, buf, sizeof(buf)) == -EINVAL,
		"ids that are not in the vocabulary");
	vocab_close(&v);

	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	put_rows(&f, small, N(small));
	gguf_entry(&f, K("add_bos_token"), 7);
	put_u8(&f.kv, 0);
	gguf_entry(&f, K("add_eos_token"), 7);
	put_u8(&f.kv, 1);
	gguf_entry(&f, K("add_space_prefix"), 7);
	put_u8(&f.kv, 0);
	gguf_kv_str(&f, "general.name", "My Phi-3 model");
	if (!test_ok(!vocab_from(&v, &f, &err), "the same with other flags"))
		return;
	test_ok(ids_are(&v, "ab", special, IDS(6, 2)), "no BOS, no space, EOS");
	test_ok(ids_are(&v, "ab</s>", special | parse, IDS(6, 2)), "EOS is not doubled");
	test_ok(ids_are(&v, "<|x|> \n ab<s> a", parse, IDS(9, 6, 1, 8)),
		"white space after Phi-3's own tokens");
	vocab_close(&v);
}

/* ---------------------------------------------------------- detokenizing */

static bool detok_is(const struct vocab *v, bool special, bool drop_lead, const int32_t *ids,
		     const char *const *want)
{
	struct linnet_detok *d;
	const char *text;
	bool ok;
	int n;

	if (linnet_tokenizer_detok(&d, v->t, special, drop_lead))
		return false;
	for (ok = true; *ids >= 0 && ok; ids++, want++) {
		n = linnet_detok_push(d, *ids, &text);
		ok = n == (int)strlen(*want) && !memcmp(text, *want, n) && !text[n];
		if (!ok)
			printf("# token %d gives '%s', not '%s'\n", *ids, n < 0 ? "error" : text,
			       *want);
	}
	n = linnet_detok_flush(d, &text);
	ok = ok && n == (int)strlen(*want) && !memcmp(text, *want, n);
	linnet_detok_destroy(d);
	return ok;
}

#define TEXTS(...) (const char *const[]){ __VA_ARGS__ }
#define BAD "\xEF\xBF\xBD"

static void test_detok(void)
{
	struct linnet_error err;
	struct linnet_detok *d;
	struct row rows[3 + 256 + 3];
	char names[256][8];
	struct gguf_file f;
	const char *text;
	struct vocab v;

	/* Byte 0xNN is token 3 + 0xNN. */
	memcpy(rows, small, 3 * sizeof(*rows));
	for (int i = 0; i < 256; i++) {
		snprintf(names[i], sizeof(names[i]), "<0x%02X>", i);
		rows[3 + i] = (struct row) { names[i], 0, 6 };
	}
	rows[259] = (struct row) { SP "Hi", -1, 1 };
	rows[260] = (struct row) { SP SP, -2, 1 };
	rows[261] = (struct row) { "\xE6\x97\xA5\xE6", -3, 1 };
	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	put_rows(&f, rows, N(rows));
	if (!test_ok(!vocab_from(&v, &f, &err), "vocabulary of bytes opens"))
		return;
#define B(x) (3 + (x))
	test_ok(detok_is(&v, false, false, IDS(259, 259), TEXTS(" Hi", " Hi", "")), "whole tokens");
	test_ok(detok_is(&v, false, true, IDS(259, 259), TEXTS("Hi", " Hi", "")),
		"the first space is dropped");
	test_ok(detok_is(&v, false, true, IDS(1, 260, 259), TEXTS("", " ", " Hi", "")),
		"only one, after BOS too");
	test_ok(detok_is(&v, true, true, IDS(1, 259, 2), TEXTS("<s>", "Hi", "</s>", "")),
		"control tokens as text");
	test_ok(detok_is(&v, false, true, IDS(B(0xE6), B(0x97), B(0xA5)),
			 TEXTS("", "", "\xE6\x97\xA5", "")), "a character of three tokens");
	test_ok(detok_is(&v, false, true, IDS(261, B(0x97), B(0xA5)),
			 TEXTS("\xE6\x97\xA5", "", "\xE6\x97\xA5", "")),
		"a token that ends inside a character");
	test_ok(detok_is(&v, false, true, IDS(B(0xF0), B(0x9F), B(0x98), B(0x80)),
			 TEXTS("", "", "", "\xF0\x9F\x98\x80", "")), "a character of four");
	test_ok(detok_is(&v, false, true, IDS(B(0xF0), B(0x9F), B('a')),
			 TEXTS("", "", BAD "a", "")), "a start that is never finished");
	test_ok(detok_is(&v, false, true, IDS(B(0xE6), B(0xE6), B(0x97)),
			 TEXTS("", BAD, "", BAD)), "another start, and the end of the text");
	test_ok(detok_is(&v, false, true, IDS(B(0x80), B(0xFF), B(0xC0), B(0xF5)),
			 TEXTS(BAD, BAD, BAD, BAD, "")), "bytes that begin nothing");
	test_ok(detok_is(&v, false, true, IDS(B(0xED), B(0xA0), B(0xF4), B(0x90)),
			 TEXTS("", BAD BAD, "", BAD BAD, "")), "surrogates and beyond U+10FFFF");
	test_ok(detok_is(&v, false, true, IDS(B(0xE0), B(0x9F), B(0xF0), B(0x8F)),
			 TEXTS("", BAD BAD, "", BAD BAD, "")), "overlong forms");
#undef B
	test_ok(!linnet_tokenizer_detok(&d, v.t, false, false) &&
		linnet_detok_push(d, -1, &text) == -EINVAL &&
		linnet_detok_push(d, N(rows), &text) == -EINVAL &&
		linnet_detok_push(d, 259, &text) == 3, "ids out of range change nothing");
	linnet_detok_destroy(d);
	linnet_detok_destroy(NULL);
	vocab_close(&v);
}

/* ------------------------------------------------------------------- main */

static void test_published(void)
{
	static const struct {
		const char *name;
		bool lead, any_bytes;
	} sets[] = {
		{ "llama-spm", true, true },
		{ "gpt-2", false, true },
		/* These have no tokens for bytes that UTF-8 does not use. */
		{ "starcoder", false, false },
		{ "deepseek-coder", false, false },
		{ "qwen2", false, true },
		{ "llama-bpe", false, true },
	};

	for (size_t i = 0; i < N(sets); i++) {
		char file[128];
		const char *path;
		struct linnet_error err;
		struct vocab v;
		double start = seconds();
		int ret;

		snprintf(file, sizeof(file), "tokenizer/ggml-vocab-%s.gguf", sets[i].name);
		path = test_data(file);
		if (path) {
			ret = vocab_open(&v, path, &err);
		} else if (!strcmp(sets[i].name, "qwen2")) {
			ret = qwen2_open(&v, &err);
			path = ret == -ENOENT ? NULL : file;
		}
		if (!path) {
			test_skip(sets[i].name, "its vocabulary is not in the test data");
			continue;
		}
		if (!test_ok(!ret, "%s: open (%s), %.0f ms, %zu KiB", sets[i].name,
			     ret ? err.message : "good", (seconds() - start) * 1e3,
			     ret ? 0 : linnet_tokenizer_memory(v.t) >> 10))
			continue;
		test_pairs(sets[i].name, &v);
		test_round_trip(sets[i].name, &v, sets[i].lead, false);
		if (sets[i].any_bytes)
			test_round_trip(sets[i].name, &v, sets[i].lead, true);
		test_cap(sets[i].name, &v);
		test_time(sets[i].name, &v);
		vocab_close(&v);
	}
}

int main(void)
{
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	test_published();
	test_special();
	test_detok();
	rmdir(dir);
	return test_end();
}
