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

/* Processor time: other programs do not count. */
static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
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
		"a", "B", " ", "  ", "\n", "\r\n", "\t", "1", "23", "'s", "'LL", "!", "<|", "é",
		"ß", "ẞ", "日", "本", "한", "\xF0\x9F\x98\x80", "\xCC\x81", "\xC2\xA0",
		"\xE1\xA0\x8E", "\xE2\x80\xA8", "\xC2\x85", "\xEF\xBF\xBD", "the", " quick", "…",
		"。", "\xF4\x8F\xBF\xBF",
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
		"a", " ", "1", "日", "\xFF", " a", "ab",
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

		for (int i = 0; i < 2; i++) {
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

static void test_ends(void)
{
	static const int32_t ends[] = { 2, 6 };
	struct linnet_error err;
	struct gguf_file f;
	struct vocab v;

	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	put_rows(&f, small, N(small));
	gguf_kv_u32(&f, K("eos_token_id"), 10);
	gguf_kv_array(&f, K("eos_token_ids"), 5, N(ends));
	put(&f.kv, ends, sizeof(ends));
	if (!test_ok(!vocab_from(&v, &f, &err), "a list of ends opens"))
		return;
	test_ok(linnet_tokenizer_eos(v.t) == 10 && linnet_tokenizer_is_end(v.t, 10) &&
		linnet_tokenizer_is_end(v.t, 2) && linnet_tokenizer_is_end(v.t, 6) &&
		!linnet_tokenizer_is_end(v.t, 7), "a list of ends: all end a generation");
	vocab_close(&v);
}

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

/* ---------------------------------------------------- damaged vocabularies */

static void put_strings(struct gguf_file *f, const char *key, const char *const *s, size_t n)
{
	gguf_kv_array(f, key, 8, n);
	for (size_t i = 0; i < n; i++)
		put_str(&f->kv, s[i]);
}

static void put_types(struct gguf_file *f, size_t n, int32_t type, size_t at, int32_t other)
{
	gguf_kv_array(f, K("token_type"), 5, n);
	for (size_t i = 0; i < n; i++)
		put_u32(&f->kv, i == at ? other : type);
}

static void put_scores(struct gguf_file *f, size_t n, float odd)
{
	gguf_kv_array(f, K("scores"), 6, n);
	for (size_t i = 0; i < n; i++)
		put(&f->kv, i ? &(float) { 1.0f } : &odd, 4);
}

static void put_flag(struct gguf_file *f, const char *key, bool value)
{
	gguf_entry(f, key, 7);
	put_u8(&f->kv, value);
}

#define STRINGS(key, ...) \
	put_strings(f, key, (const char *const[]){ __VA_ARGS__ }, \
		    N(((const char *const[]){ __VA_ARGS__ })))
#define SPM gguf_kv_str(f, K("model"), "llama")
#define BPE gguf_kv_str(f, K("model"), "gpt2"); gguf_kv_str(f, K("pre"), "gpt-2")
#define ABC STRINGS(K("tokens"), "a", "b", "ab")
#define MERGES STRINGS(K("merges"), "a b")

/* name, what is returned, two texts that the message holds, the metadata */
#define CASES \
X(no_model, -ENOENT, K("model"), "no vocabulary", ABC) \
X(model_none, -ENOENT, K("model"), "no vocabulary", gguf_kv_str(f, K("model"), "none")) \
X(model_type, -EINVAL, K("model"), "", gguf_kv_u32(f, K("model"), 1)) \
X(model_bert, -ENOTSUP, K("model"), "'bert'", gguf_kv_str(f, K("model"), "bert"); ABC) \
X(model_t5, -ENOTSUP, K("model"), "'t5'", gguf_kv_str(f, K("model"), "t5"); ABC) \
X(model_rwkv, -ENOTSUP, K("model"), "'rwkv'", gguf_kv_str(f, K("model"), "rwkv"); ABC) \
X(model_gemma4, -ENOTSUP, K("model"), "'gemma4'", gguf_kv_str(f, K("model"), "gemma4"); ABC) \
X(no_tokens, -EINVAL, K("tokens"), "missing", SPM) \
X(zero_tokens, -EINVAL, K("tokens"), "0 tokens", SPM; gguf_kv_array(f, K("tokens"), 8, 0)) \
X(tokens_type, -EINVAL, K("tokens"), "", SPM; gguf_kv_array(f, K("tokens"), 4, 1); \
  put_u32(&f->kv, 7)) \
X(tokens_scalar, -EINVAL, K("tokens"), "", SPM; gguf_kv_str(f, K("tokens"), "a")) \
X(same_token, -EINVAL, K("tokens"), "1 and 3", SPM; STRINGS(K("tokens"), "a", "b", "c", "b")) \
X(token_long, -EINVAL, K("tokens"), "token 1", SPM; gguf_kv_array(f, K("tokens"), 8, 2); \
  put_str(&f->kv, "a"); put_u64(&f->kv, (1 << 20) + 1); put_zero(&f->kv, (1 << 20) + 1)) \
X(special_long, -EINVAL, K("tokens"), "token 1", BPE; MERGES; \
  gguf_kv_array(f, K("tokens"), 8, 2); put_str(&f->kv, "a"); put_u64(&f->kv, 4097); \
  put_zero(&f->kv, 4097); put_types(f, 2, 1, 1, 4)) \
X(types_short, -EINVAL, K("token_type"), "2 elements for 3", SPM; ABC; put_types(f, 2, 1, 9, 0)) \
X(types_long, -EINVAL, K("token_type"), "4 elements for 3", SPM; ABC; put_types(f, 4, 1, 9, 0)) \
X(types_value, -EINVAL, K("token_type"), "token 2 has type 7", SPM; ABC; put_scores(f, 3, 0); \
  put_types(f, 3, 1, 2, 7)) \
X(types_negative, -EINVAL, K("token_type"), "type -1", SPM; ABC; put_types(f, 3, 1, 2, -1)) \
X(types_type, -EINVAL, K("token_type"), "", SPM; ABC; \
  STRINGS(K("token_type"), "1", "1", "1")) \
X(byte_text, -EINVAL, K("tokens"), "token 1 is of type byte", SPM; ABC; put_scores(f, 3, 0); \
  put_types(f, 3, 1, 1, 6)) \
X(no_scores, -EINVAL, K("scores"), "missing", SPM; ABC) \
X(scores_short, -EINVAL, K("scores"), "2 elements for 3", SPM; ABC; put_scores(f, 2, 0)) \
X(scores_nan, -EINVAL, K("scores"), "token 0", SPM; ABC; put_scores(f, 3, NAN)) \
X(no_merges, -EINVAL, K("merges"), "missing", BPE; ABC) \
X(merge_one, -EINVAL, K("merges"), "merge 1 ", BPE; ABC; STRINGS(K("merges"), "a b", "ab")) \
X(merge_empty, -EINVAL, K("merges"), "merge 0 ", BPE; ABC; STRINGS(K("merges"), "")) \
X(merge_left, -EINVAL, K("merges"), "merge 0 ", BPE; ABC; STRINGS(K("merges"), " b")) \
X(merge_right, -EINVAL, K("merges"), "merge 0 ", BPE; ABC; STRINGS(K("merges"), "a ")) \
X(merge_type, -EINVAL, K("merges"), "", BPE; ABC; gguf_kv_array(f, K("merges"), 4, 0)) \
X(pre_unknown, -ENOTSUP, K("pre"), "'frobnicate'", gguf_kv_str(f, K("model"), "gpt2"); \
  gguf_kv_str(f, K("pre"), "frobnicate"); ABC; MERGES) \
X(pre_zero, -ENOTSUP, K("pre"), "", gguf_kv_str(f, K("model"), "gpt2"); \
  gguf_entry(f, K("pre"), 8); put_strn(&f->kv, "gpt-2\0x", 7); ABC; MERGES) \
X(pre_type, -EINVAL, K("pre"), "", gguf_kv_str(f, K("model"), "gpt2"); \
  gguf_kv_u32(f, K("pre"), 2); ABC; MERGES) \
X(bos_range, -EINVAL, K("bos_token_id"), "3, but there are 3", BPE; ABC; MERGES; \
  gguf_kv_u32(f, K("bos_token_id"), 3)) \
X(eos_range, -EINVAL, K("eos_token_id"), "2147483648", BPE; ABC; MERGES; \
  gguf_kv_u32(f, K("eos_token_id"), 0x80000000)) \
X(unk_range, -EINVAL, K("unknown_token_id"), "3", BPE; ABC; MERGES; \
  gguf_kv_u32(f, K("unknown_token_id"), 3)) \
X(eos_ids_range, -EINVAL, K("eos_token_ids"), "element 1 is 3", BPE; ABC; MERGES; \
  gguf_kv_array(f, K("eos_token_ids"), 4, 2); put_u32(&f->kv, 2); put_u32(&f->kv, 3)) \
X(eos_ids_type, -EINVAL, K("eos_token_ids"), "", BPE; ABC; MERGES; \
  gguf_kv_u32(f, K("eos_token_ids"), 2)) \
X(eot_range, -EINVAL, K("eot_token_id"), "4", BPE; ABC; MERGES; \
  gguf_kv_u32(f, K("eot_token_id"), 4)) \
X(eos_type, -EINVAL, K("eos_token_id"), "", BPE; ABC; MERGES; \
  gguf_kv_str(f, K("eos_token_id"), "2")) \
X(bos_flag_type, -EINVAL, K("add_bos_token"), "", BPE; ABC; MERGES; \
  gguf_kv_str(f, K("add_bos_token"), "yes")) \
X(bos_flag, -EINVAL, K("add_bos_token"), "no id", BPE; ABC; MERGES; \
  put_flag(f, K("add_bos_token"), true)) \
X(name_type, -EINVAL, "general.name", "", BPE; ABC; MERGES; \
  gguf_kv_u32(f, "general.name", 3)) \
/* and what is odd, but right */ \
X(minimal_spm, 0, "", "", SPM; ABC; put_scores(f, 3, 0)) \
X(minimal_bpe, 0, "", "", BPE; ABC; MERGES) \
X(default_pre, 0, "", "", gguf_kv_str(f, K("model"), "gpt2"); ABC; MERGES) \
X(infinite, 0, "", "", SPM; ABC; put_scores(f, 3, -INFINITY)) \
X(no_ids, 0, "", "", BPE; ABC; MERGES; gguf_kv_u32(f, K("bos_token_id"), UINT32_MAX); \
  gguf_kv_u32(f, K("eos_token_id"), UINT32_MAX)) \
X(empty_tokens, 0, "", "", SPM; STRINGS(K("tokens"), "", "", "a"); put_scores(f, 3, 0)) \
X(not_utf8, 0, "", "", BPE; STRINGS(K("tokens"), "\xFF\xC3", "\x80", "a"); MERGES; \
  put_types(f, 3, 1, 0, 4)) \
X(merge_cycle, 0, "", "", BPE; STRINGS(K("tokens"), "a", "b", "ab", "aba", "ba"); \
  STRINGS(K("merges"), "a b", "ab a", "a ba", "b a", "a b", "aba ab", "ab ab", "aba aba")) \
X(no_merges_at_all, 0, "", "", BPE; ABC; gguf_kv_array(f, K("merges"), 8, 0))

#define X(name, ret, field, value, ...) \
	static void damage_##name(struct gguf_file *f) { __VA_ARGS__; }
CASES
#undef X

static void test_damaged(void)
{
	static const struct {
		const char *name;
		int ret;
		const char *field, *value;
		void (*make)(struct gguf_file *f);
	} cases[] = {
#define X(name, ret, field, value, ...) { #name, ret, field, value, damage_##name },
		CASES
#undef X
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct linnet_error err = { 0 };
		struct gguf_file f;
		struct vocab v;
		bool ok;
		int ret;

		gguf_init(&f);
		cases[i].make(&f);
		ret = vocab_from(&v, &f, &err);
		ok = ret == cases[i].ret;
		if (ret) {
			ok = ok && err.code == ret && strstr(err.message, "v.gguf") &&
			     strstr(err.message, cases[i].field) &&
			     strstr(err.message, cases[i].value) && !strchr(err.message, '\n');
		} else {
			int32_t ids[64];
			char buf[64];

			/* Whatever it says, it can be used. */
			linnet_tokenizer_encode(v.t, "abab aba\xFF x<0x41>", 18,
						LINNET_TOKENIZE_SPECIAL, ids, N(ids));
			for (uint32_t k = 0; k < linnet_tokenizer_n_vocab(v.t); k++)
				linnet_tokenizer_text(v.t, k, true, buf, sizeof(buf));
		}
		test_ok(ok, "%s: %d %s", cases[i].name, ret, ret ? err.message : "");
		if (!ret)
			vocab_close(&v);
	}
}

/* Bytes that a vocabulary cannot express, by what it has instead. */
static void test_missing_bytes(void)
{
	struct linnet_error err;
	struct gguf_file file, *f = &file;
	struct vocab v;

	gguf_init(f);
	BPE; ABC; MERGES;
	if (test_ok(!vocab_from(&v, f, &err), "vocabulary of two bytes opens")) {
		int32_t id;

		test_ok(ids_are(&v, "abb", 0, IDS(2, 1)), "its own text");
		test_ok(linnet_tokenizer_encode(v.t, "abc", 3, 0, &id, 1) == -EILSEQ,
			"no way to express a byte is an error");
		test_ok(linnet_tokenizer_encode(v.t, "a", (1u << 30) + 1, 0, &id, 1) == -E2BIG,
			"more than 1 GiB of text is an error");
		vocab_close(&v);
	}
	gguf_init(f);
	BPE; ABC; MERGES;
	gguf_kv_u32(f, K("unknown_token_id"), 0);
	if (test_ok(!vocab_from(&v, f, &err), "the same with an unknown token opens")) {
		test_ok(ids_are(&v, "bcb", 0, IDS(1, 0, 1)), "the unknown token for a byte");
		vocab_close(&v);
	}
	gguf_init(f);
	BPE; MERGES;
	/* The letters that EF, BF and BD are in the alphabet of bytes. */
	STRINGS(K("tokens"), "a", "\xC3\xAF", "\xC2\xBF", "\xC2\xBD");
	if (test_ok(!vocab_from(&v, f, &err), "vocabulary with U+FFFD opens")) {
		test_ok(ids_are(&v, "a\xFF" "a", 0, IDS(0, 1, 2, 3, 0)), "U+FFFD for a byte");
		vocab_close(&v);
	}
}

/* A million tokens, and runs of one letter: each twice as long as the one before. */
static void test_big(void)
{
	struct linnet_error err;
	struct gguf_file f;
	struct vocab v;
	double start;
	char *text;
	int ret;

	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	gguf_kv_array(&f, K("tokens"), 8, 1000000);
	for (int i = 0; i < 1000000; i++) {
		char s[16];

		snprintf(s, sizeof(s), "t%d", i);
		put_str(&f.kv, s);
	}
	put_scores(&f, 1000000, 0);
	start = seconds();
	ret = vocab_from(&v, &f, &err);
	start = seconds() - start;
	test_ok(!ret && start < 20, "a million tokens: %.0f ms, %zu KiB", start * 1e3,
		ret ? 0 : linnet_tokenizer_memory(v.t) >> 10);
	if (!ret)
		vocab_close(&v);

	text = malloc(1 << 20);
	memset(text, 'a', 1 << 20);
	gguf_init(&f);
	gguf_kv_str(&f, K("model"), "llama");
	put_flag(&f, K("add_space_prefix"), false);
	gguf_kv_array(&f, K("tokens"), 8, 21);
	for (int i = 0; i <= 20; i++)
		put_strn(&f.kv, text, 1 << i);
	put_scores(&f, 21, 0);
	ret = vocab_from(&v, &f, &err);
	if (test_ok(!ret, "tokens of up to 1 MiB open")) {
		int32_t ids[2];

		start = seconds();
		ret = linnet_tokenizer_encode(v.t, text, 1 << 20, 0, ids, 2);
		start = seconds() - start;
		test_ok(ret == 1 && ids[0] == 20 && start < 20, "1 MiB is one of them: %.2f s",
			start);
		vocab_close(&v);
	}
	free(text);
}

/* ------------------------------------------- against the plainest algorithm */

#define MAX_WORDS 64

struct plain {
	char token[MAX_WORDS][8];
	int n;
	float score[MAX_WORDS];
	struct { int left, right; } merge[MAX_WORDS];
	int n_merges;
};

static int plain_find(const struct plain *v, const char *s, size_t n)
{
	for (int i = 0; i < v->n; i++) {
		if (strlen(v->token[i]) == n && !memcmp(v->token[i], s, n))
			return i;
	}
	return -1;
}

/* Priority of merging two tokens, less is sooner; -1: never. */
static double plain_rank(const struct plain *v, bool spm, int left, int right, int *to)
{
	char both[16];
	size_t n = snprintf(both, sizeof(both), "%s%s", v->token[left], v->token[right]);

	*to = plain_find(v, both, n);
	if (*to < 0)
		return -1;
	if (spm)
		return 1000 - v->score[*to];
	for (int i = 0; i < v->n_merges; i++) {
		if (v->merge[i].left == left && v->merge[i].right == right)
			return i;
	}
	return -1;
}

static size_t plain_encode(const struct plain *v, bool spm, const char *text, int32_t *ids)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		ids[i] = plain_find(v, text + i, 1);
	for (;;) {
		size_t best = n;
		double first = INFINITY;
		int to;

		for (size_t i = 0; i + 1 < n; i++) {
			double rank = plain_rank(v, spm, ids[i], ids[i + 1], &to);

			if (rank >= 0 && rank < first) {
				first = rank;
				best = i;
			}
		}
		if (best == n)
			return n;
		plain_rank(v, spm, ids[best], ids[best + 1], &to);
		ids[best] = to;
		memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof(*ids));
		n--;
	}
}

static void plain_make(struct plain *v)
{
	*v = (struct plain) { .n = 3 };
	for (int i = 0; i < 3; i++)
		v->token[i][0] = 'a' + i;
	for (int tries = 0; tries < 200 && v->n < MAX_WORDS; tries++) {
		char both[16];
		int left = rng(v->n), right = rng(v->n);
		int n = snprintf(both, sizeof(both), "%s%s", v->token[left], v->token[right]);

		if (n > 7)
			continue;
		if (plain_find(v, both, n) < 0) {
			v->score[v->n] = rng(12);
			memcpy(v->token[v->n++], both, n + 1);
		}
		if (v->n_merges < MAX_WORDS && rng(2)) {
			v->merge[v->n_merges].left = left;
			v->merge[v->n_merges++].right = right;
		}
	}
}

/* Random vocabularies of a, b and c; words below and above the length for a heap. */
static void test_plain(bool spm)
{
	int texts = 0;
	bool ok = true;

	for (int round = 0; round < 60 && ok; round++) {
		struct linnet_error err;
		struct gguf_file f;
		struct plain p;
		struct vocab v;

		plain_make(&p);
		gguf_init(&f);
		gguf_kv_str(&f, K("model"), spm ? "llama" : "gpt2");
		gguf_kv_str(&f, K("pre"), "gpt-2");
		put_flag(&f, K("add_space_prefix"), false);
		gguf_kv_array(&f, K("tokens"), 8, p.n);
		for (int i = 0; i < p.n; i++)
			put_str(&f.kv, p.token[i]);
		gguf_kv_array(&f, K("scores"), 6, p.n);
		put(&f.kv, p.score, p.n * sizeof(float));
		gguf_kv_array(&f, K("merges"), 8, p.n_merges);
		for (int i = 0; i < p.n_merges; i++) {
			char text[32];

			snprintf(text, sizeof(text), "%s %s", p.token[p.merge[i].left],
				 p.token[p.merge[i].right]);
			put_str(&f.kv, text);
		}
		ok = !vocab_from(&v, &f, &err);
		for (int k = 0; k < 40 && ok; k++, texts++) {
			char text[256];
			int32_t want[256];
			size_t n = rng(k & 1 ? 40 : sizeof(text)), count;
			struct ids r;

			for (size_t i = 0; i < n; i++)
				text[i] = 'a' + rng(1 + rng(3));
			text[n] = '\0';
			count = plain_encode(&p, spm, text, want);
			r = encode(&v, text, n, 0);
			ok = r.n == (int64_t)count && !memcmp(r.p, want, count * sizeof(*want));
			if (!ok)
				printf("# %s\n", text);
			free(r.p);
		}
		vocab_close(&v);
	}
	test_ok(ok, "%s: %d texts as the plainest algorithm has them", spm ? "llama" : "gpt2",
		texts);
}

/* --------------------------------------------------------- pre-tokenizers */

struct words {
	char text[4096];
	size_t n;
	uint64_t count, bytes;
};

static int add_word(void *ctx, const char *text, size_t n)
{
	struct words *w = ctx;

	w->count++;
	w->bytes += n;
	if (w->n + n + 1 < sizeof(w->text)) {
		memcpy(w->text + w->n, text, n);
		w->n += n;
		w->text[w->n++] = '|';
	}
	w->text[w->n] = '\0';
	return 0;
}

static void test_words(const char *name, const char *text, const char *want)
{
	struct pretokenizer *p;
	struct words w = { .n = 0 };

	if (!test_ok(!pretokenizer_create(&p, name, NULL), "pre-tokenizer %s", name))
		return;
	pretokenizer_split(p, text, strlen(text), add_word, &w);
	if (!test_ok(!strcmp(w.text, want), "%s: words", name))
		printf("# got  %s\n# want %s\n", w.text, want);
	pretokenizer_destroy(p);
}

static int stop(void *ctx, const char *text, size_t n)
{
	return ++*(int *)ctx == 2 ? -EINTR : 0;
}

static void test_pretokenizers(void)
{
	static const char *const units[] = {
		"a", "A", " ", "\n", "\r", "\t", "1", "!", "'", "日", "\xE3\x81\x82", "ß", "aB ",
		" 1", "\xCC\x81", "a\xCC\x81", "\xFF", "a a", "  a", "\t\n",
		"\xE0\xA5\xA6", "가", "“",
	};
	static const char *const kinds[] = {
		"default", "gpt-2", "starcoder", "falcon", "llama-bpe", "qwen2", "qwen35",
		"minicpm5", "laguna", "bailingmoe", "seed-coder", "exaone-moe", "tekken", "gpt-4o",
		"youtu", "bloom", "viking", "deepseek-llm", "deepseek-coder", "deepseek-v3",
	};
	static const char sample[] =
		"It's 12345 WORDS  and\tmore…\r\n\r\n  日本語 x=y; \xFF caf\xC3\xA9 한국어. ";
	const char *name;
	struct pretokenizer *p;
	char *text = malloc((1 << 20) + 16);
	int calls = 0;

	test_words("gpt-2", "I'll  see 12345 cats!\n\n ok  ",
		   "I|'ll| | see| 12345| cats|!|\n\n| ok|  |");
	test_words("llama-bpe", "I'LL  see 12345 cats!\n\n ok 1\n",
		   "I|'LL| | see| |123|45| cats|!\n\n| ok| |1|\n|");
	test_words("qwen2", "We'Ve 123 (x)\n\n\n  y", "We|'Ve| |1|2|3| (|x|)\n\n\n| | y|");
	test_words("starcoder", "x1234 y", "x|1|2|3|4| y|");
	test_words("falcon", "a,b 12345 $x", "a|,|b| |123|45| |$|x|");
	test_words("default", "a+b 1234567", "a|+|b| |123|456|7|");
	test_words("deepseek-coder", "a b\n\n12 日本x", "a| b|\n|\n|1|2| |日本|x|");
	test_words("deepseek-llm", "a b,c 12  日本", "a| b|,|c| |12|  |日本|");
	test_words("deepseek-v3", "1234 (abc) _x日本", "123|4| (|abc|)| _|x|日本|");
	test_words("tekken", "someWords ABCdef it's 12", "some|Words| ABCdef| it|'s| |1|2|");
	test_words("gpt-4o", "someWords ABCdef it's 1234/\n",
		   "some|Words| ABCdef| it's| |123|4|/\n|");
	test_words("f2llmv2", "it'S 12", "it|'S| |1|2|");
	test_words("talkie", "someWords 12", "some|Words| |12|");
	test_words("jina-v5-nano", "it's 1234", "it|'s| |123|4|");
	test_words("bloom", "a,b c.d", "a|,|b| c|.|d|");
	test_words("seed-coder", "a)\n\nb", "a|)|\n\n|b|");
	test_words("gpt-2", "a\xFF\xFE" "b", "a|\xFF\xFE|b|");
	/* White space is Unicode's: U+00A0 and U+0085 are, U+180E is not. */
	test_words("gpt-2", "a\xC2\xA0\xC2\x85 b", "a|\xC2\xA0\xC2\x85| b|");
	test_words("gpt-2", "a\xE1\xA0\x8E" "b", "a|\xE1\xA0\x8E|b|");
	test_ok(pretokenizer_create(&p, "gpt-3", NULL) == -ENOTSUP, "an unknown name");
	if (!pretokenizer_create(&p, "gpt-2", NULL)) {
		test_ok(pretokenizer_split(p, "a b c d", 7, stop, &calls) == -EINTR && calls == 2,
			"the callback can stop it");
		pretokenizer_destroy(p);
	}

	for (size_t i = 0; (name = pretokenizer_name(i)); i++) {
		struct words w = { .n = 0 };
		bool ok = false;

		if (!pretokenizer_create(&p, name, NULL)) {
			ok = !pretokenizer_split(p, sample, strlen(sample), add_word, &w) &&
			     w.bytes == strlen(sample) && w.count > 6;
			pretokenizer_destroy(p);
		}
		test_ok(ok, "%s: words are the text, %ld of them", name, (long)w.count);
	}
	/* One of each kind. */
	for (size_t i = 0; i < N(kinds); i++) {
		double worst = 0;
		bool ok = true;

		if (pretokenizer_create(&p, kinds[i], NULL)) {
			test_ok(false, "pre-tokenizer %s", kinds[i]);
			continue;
		}
		for (size_t k = 0; k < N(units) && ok; k++) {
			size_t len = strlen(units[k]), n = 0;
			struct words w = { .n = 0 };
			double start;

			while (n + len <= 1 << 20) {
				memcpy(text + n, units[k], len);
				n += len;
			}
			/* Something else at the end, so that guesses are given up late. */
			memcpy(text + n, k & 1 ? "x" : ".", 1);
			start = seconds();
			ok = !pretokenizer_split(p, text, n + 1, add_word, &w) && w.bytes == n + 1;
			start = seconds() - start;
			worst = start > worst ? start : worst;
			if (!ok || start > 4)
				printf("# %s: '%s' %.2f s\n", kinds[i], units[k], start);
		}
		test_ok(ok && worst < 4, "%s: 1 MiB of one thing takes %.2f s at most", kinds[i],
			worst);
		pretokenizer_destroy(p);
	}
	free(text);
}

/* ------------------------------------------------------------------- main */

/* Vocabularies inside models, without published pairs. */
static void test_models(void)
{
	static const struct {
		const char *path, *text;
	} models[] = {
		{ "stories260K/stories260K.gguf", "Lily's café:\t\xF0\x9F\x98\x80 \xFF  1,000 \n" },
		/* No token for most characters, nor for bytes. */
		{ "tinystories-656k/TinyStories-656K-Q8_0.gguf",
		  "Once upon a time, there was a little girl named Lily." },
	};

	for (size_t i = 0; i < N(models); i++) {
		const char *path = test_data(models[i].path);
		struct linnet_error err = { 0 };
		struct vocab v;

		if (!path) {
			test_skip(models[i].path, "not in the test data");
			continue;
		}
		if (!test_ok(!vocab_open(&v, path, &err), "%s opens %s", models[i].path,
			     err.message))
			continue;
		test_ok(round_trip(&v, models[i].text, strlen(models[i].text), true),
			"%s: there and back", models[i].path);
		vocab_close(&v);
	}
}

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
	test_models();
	test_ends();
	test_special();
	test_detok();
	test_damaged();
	test_missing_bytes();
	test_big();
	test_plain(true);
	test_plain(false);
	test_pretokenizers();
	rmdir(dir);
	return test_end();
}
