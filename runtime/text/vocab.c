// SPDX-License-Identifier: MIT
/*
 * Keeps the reading half of tokenizer.h: takes the tokenizer.ggml.* metadata of a
 * GGUF file, checks all of it, and builds the look-ups of vocab.h. The keys are
 * described in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#include "vocab.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/util/error.h"

#define MAX_TOKENS (1u << 24)
#define MAX_TOKEN_BYTES (1u << 20)
/* Tables are at most two thirds full: honest ones never come near this. */
#define MAX_PROBES 4096
#define PAIR_SET_BITS 20

#define KEY(name) "tokenizer.ggml." name

static void *vocab_alloc(struct linnet_tokenizer *t, size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (p)
		t->bytes += n * size;
	return p;
}

static int no_memory(const struct linnet_tokenizer *t, struct linnet_error *err)
{
	return linnet_err(err, -ENOMEM, "%s: no memory for the vocabulary", t->path);
}

/* ------------------------------------------------------------ hash tables */

static int table_create(struct linnet_tokenizer *t, struct vocab_table *table, uint32_t n)
{
	uint32_t size = 16;

	while (size < n + n / 2)
		size *= 2;
	table->slot = vocab_alloc(t, size, sizeof(*table->slot));
	if (!table->slot)
		return -ENOMEM;
	table->mask = size - 1;
	return 0;
}

static uint64_t hash_mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9E3779B97F4A7C15;
	return h ^ h >> 32;
}

static uint64_t hash_text(const char *p, size_t n)
{
	uint64_t h = n, word;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&word, p, 8);
		h = hash_mix(h, word);
	}
	word = 0;
	memcpy(&word, p, n);
	return hash_mix(hash_mix(h, word), 0);
}

static uint64_t hash_pair(int32_t left, int32_t right)
{
	return hash_mix(hash_mix(0, (uint64_t)left << 32 | (uint32_t)right), 0);
}

int32_t vocab_find(const struct linnet_tokenizer *t, const char *p, size_t n)
{
	uint64_t h = hash_text(p, n);
	const struct vocab_slot *s;

	for (uint32_t i = h >> 32;; i++) {
		s = &t->by_text.slot[i & t->by_text.mask];
		if (!s->index)
			return VOCAB_NONE;
		if (s->tag == (uint32_t)h && t->token[s->index - 1].n == n &&
		    !memcmp(t->token[s->index - 1].p, p, n))
			return s->index - 1;
	}
}

uint32_t vocab_find_merge(const struct linnet_tokenizer *t, int32_t left, int32_t right,
			  int32_t *to)
{
	uint64_t h = hash_pair(left, right);
	const struct vocab_slot *s;

	for (uint32_t i = h >> 32;; i++) {
		s = &t->by_pair.slot[i & t->by_pair.mask];
		if (!s->index)
			return RANK_NONE;
		if (s->tag == (uint32_t)h && t->merge[s->index - 1].left == left &&
		    t->merge[s->index - 1].right == right) {
			*to = t->merge[s->index - 1].to;
			return s->index - 1;
		}
	}
}

/* A free slot for hash h that holds no equal element, or NULL after MAX_PROBES. */
static struct vocab_slot *table_slot(const struct vocab_table *table, uint64_t h)
{
	for (uint32_t i = 0; i < MAX_PROBES && i <= table->mask; i++) {
		struct vocab_slot *s = &table->slot[((h >> 32) + i) & table->mask];

		if (!s->index) {
			s->tag = h;
			return s;
		}
	}
	return NULL;
}

/* ----------------------------------------------------------------- tokens */

static int read_tokens(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		       struct linnet_error *err)
{
	struct linnet_gguf_array a;
	int ret;

	ret = linnet_gguf_get_array(g, KEY("tokens"), LINNET_GGUF_STRING, &a, err);
	if (ret == -ENOENT)
		return linnet_err(err, -EINVAL, "%s: " KEY("tokens") ": missing", t->path);
	if (ret)
		return ret;
	if (!a.n || a.n > MAX_TOKENS)
		return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
				  ": %zu tokens, 1 to %u expected", t->path, a.n, MAX_TOKENS);
	t->token = a.data;
	t->n_tokens = a.n;

	if (table_create(t, &t->by_text, t->n_tokens))
		return no_memory(t, err);
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		const struct linnet_str *s = &t->token[i];
		struct vocab_slot *slot;
		int32_t same;

		/* Some vocabularies are padded with empty texts: tokens no text can have. */
		if (!s->n)
			continue;
		if (s->n > MAX_TOKEN_BYTES)
			return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
					  ": token %u has %zu bytes, at most %u expected",
					  t->path, i, s->n, MAX_TOKEN_BYTES);
		if (s->n > t->max_token_bytes)
			t->max_token_bytes = s->n;
		same = vocab_find(t, s->p, s->n);
		if (same >= 0)
			return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
					  ": tokens %d and %u have the same text", t->path,
					  same, i);
		slot = table_slot(&t->by_text, hash_text(s->p, s->n));
		if (!slot)
			return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
					  ": token %u: too many hash collisions", t->path, i);
		slot->index = i + 1;
	}
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int vocab_byte_token(const struct linnet_str *s)
{
	if (s->n != 6 || memcmp(s->p, "<0x", 3) || s->p[5] != '>' || hex_digit(s->p[3]) < 0 ||
	    hex_digit(s->p[4]) < 0)
		return -1;
	return hex_digit(s->p[3]) << 4 | hex_digit(s->p[4]);
}

static int read_types(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		      struct linnet_error *err)
{
	struct linnet_gguf_array a;
	const int32_t *type = NULL;
	int ret;

	t->attr = vocab_alloc(t, t->n_tokens, 1);
	if (!t->attr)
		return no_memory(t, err);
	ret = linnet_gguf_get_array(g, KEY("token_type"), LINNET_GGUF_I32, &a, err);
	if (ret && ret != -ENOENT)
		return ret;
	if (!ret) {
		if (a.n != t->n_tokens)
			return linnet_err(err, -EINVAL, "%s: " KEY("token_type")
					  ": %zu elements for %u tokens", t->path, a.n,
					  t->n_tokens);
		type = a.data;
	}
	for (int i = 0; i < 256; i++)
		t->byte_id[i] = VOCAB_NONE;
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		int byte = vocab_byte_token(&t->token[i]);

		if (!type)
			t->attr[i] = t->kind == VOCAB_SPM && byte >= 0 ? TOKEN_BYTE : TOKEN_NORMAL;
		else if (type[i] >= TOKEN_UNDEFINED && type[i] <= TOKEN_BYTE)
			t->attr[i] = type[i];
		else
			return linnet_err(err, -EINVAL, "%s: " KEY("token_type")
					  ": token %u has type %d, 0 to 6 expected", t->path, i,
					  type[i]);
		if (t->attr[i] != TOKEN_BYTE)
			continue;
		if (byte < 0)
			return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
					  ": token %u is of type byte, but not <0x00> to <0xFF>",
					  t->path, i);
		if (t->kind == VOCAB_SPM)
			t->byte_id[byte] = i;
	}
	if (t->kind == VOCAB_BPE) {
		for (int i = 0; i < 256; i++) {
			char spelled[2];
			int32_t id = vocab_find(t, spelled, byte_level_encode(i, spelled));

			/* An added token may look like a byte, but is the character. */
			if (id >= 0 && vocab_type(t, id) == TOKEN_NORMAL)
				t->byte_id[i] = id;
		}
	}
	return 0;
}

/* ------------------------------------------------------- scores and merges */

struct scored {
	float score;
	uint32_t id;
};

static int compare_scores(const void *a, const void *b)
{
	float x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;

	return (x < y) - (x > y);
}

static int read_scores(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		       struct linnet_error *err)
{
	struct linnet_gguf_array a;
	struct scored *order;
	uint32_t rank = 0;
	int ret;

	ret = linnet_gguf_get_array(g, KEY("scores"), LINNET_GGUF_F32, &a, err);
	if (ret == -ENOENT)
		return linnet_err(err, -EINVAL, "%s: " KEY("scores") ": missing", t->path);
	if (ret)
		return ret;
	if (a.n != t->n_tokens)
		return linnet_err(err, -EINVAL, "%s: " KEY("scores") ": %zu elements for %u tokens",
				  t->path, a.n, t->n_tokens);

	t->rank = vocab_alloc(t, t->n_tokens, sizeof(*t->rank));
	order = malloc(t->n_tokens * sizeof(*order));
	if (!t->rank || !order) {
		free(order);
		return no_memory(t, err);
	}
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		order[i] = (struct scored){ ((const float *)a.data)[i], i };
		if (isnan(order[i].score)) {
			free(order);
			return linnet_err(err, -EINVAL, "%s: " KEY("scores")
					  ": token %u: not a number", t->path, i);
		}
	}
	qsort(order, t->n_tokens, sizeof(*order), compare_scores);
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		enum token_type type = vocab_type(t, order[i].id);

		if (i && order[i].score != order[i - 1].score)
			rank = i;
		/* Text never becomes a control token by merging. */
		if (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN || type == TOKEN_BYTE)
			t->rank[order[i].id] = RANK_NONE;
		else
			t->rank[order[i].id] = rank;
	}
	free(order);
	return 0;
}

static uint32_t pair_bit(uint32_t a, uint32_t b)
{
	return hash_mix(hash_mix(0, (uint64_t)a << 32 | b), 0) >> (64 - PAIR_SET_BITS);
}

bool vocab_may_span(const struct linnet_tokenizer *t, uint32_t a, uint32_t b)
{
	uint32_t bit = pair_bit(a, b);

	return t->pair_set[bit / 64] >> bit % 64 & 1;
}

static int make_pair_set(struct linnet_tokenizer *t, struct linnet_error *err)
{
	t->pair_set = vocab_alloc(t, (1u << PAIR_SET_BITS) / 64, sizeof(*t->pair_set));
	if (!t->pair_set)
		return no_memory(t, err);
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		const struct linnet_str *s = &t->token[i];
		uint32_t last = 0, ch;

		if (t->rank[i] == RANK_NONE)
			continue;
		for (size_t at = 0; at < s->n;) {
			size_t len = utf8_char(s->p + at, s->n - at, &ch);
			uint32_t bit;

			/* The same stand-in as in encode_spm(). */
			if (!len) {
				ch = 0xD800 | (uint8_t)s->p[at];
				len = 1;
			}
			bit = pair_bit(last, ch);
			if (at)
				t->pair_set[bit / 64] |= UINT64_C(1) << bit % 64;
			last = ch;
			at += len;
		}
	}
	return 0;
}

static int read_merges(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		       struct linnet_error *err)
{
	struct linnet_gguf_array a;
	char *joined = NULL;
	int ret;

	ret = linnet_gguf_get_array(g, KEY("merges"), LINNET_GGUF_STRING, &a, err);
	if (ret == -ENOENT)
		return linnet_err(err, -EINVAL, "%s: " KEY("merges") ": missing", t->path);
	if (ret)
		return ret;
	if (a.n > MAX_TOKENS)
		return linnet_err(err, -EINVAL, "%s: " KEY("merges")
				  ": %zu merges, at most %u expected", t->path, a.n, MAX_TOKENS);
	t->merge = vocab_alloc(t, a.n, sizeof(*t->merge));
	joined = malloc(t->max_token_bytes + 1);
	if (!t->merge || !joined || table_create(t, &t->by_pair, a.n)) {
		ret = no_memory(t, err);
		goto out;
	}
	t->n_merges = a.n;
	for (uint32_t i = 0; i < t->n_merges; i++) {
		const struct linnet_str *s = (const struct linnet_str *)a.data + i;
		struct vocab_merge *m = &t->merge[i];
		const char *space = s->n > 1 ? memchr(s->p + 1, ' ', s->n - 1) : NULL;
		struct vocab_slot *slot;
		size_t left, right;
		uint64_t h;
		int32_t to;

		*m = (struct vocab_merge){ VOCAB_NONE, VOCAB_NONE, VOCAB_NONE };
		if (!space || space + 1 == s->p + s->n) {
			ret = linnet_err(err, -EINVAL, "%s: " KEY("merges")
					 ": merge %u is not two texts with a space between",
					 t->path, i);
			goto out;
		}
		left = space - s->p;
		right = s->n - left - 1;
		/*
		 * Texts that are no tokens cannot be met while merging (byte tokens are
		 * where it starts), so such a merge is dead and stays out of the table.
		 */
		if (left + right > t->max_token_bytes)
			continue;
		memcpy(joined, s->p, left);
		memcpy(joined + left, space + 1, right);
		m->left = vocab_find(t, joined, left);
		m->right = vocab_find(t, joined + left, right);
		m->to = vocab_find(t, joined, left + right);
		if (m->left < 0 || m->right < 0 || m->to < 0 ||
		    vocab_type(t, m->to) == TOKEN_CONTROL || vocab_type(t, m->to) == TOKEN_UNKNOWN)
			continue;
		/* Of equal merges the first counts. */
		if (vocab_find_merge(t, m->left, m->right, &to) != RANK_NONE)
			continue;
		h = hash_pair(m->left, m->right);
		slot = table_slot(&t->by_pair, h);
		if (!slot) {
			ret = linnet_err(err, -EINVAL, "%s: " KEY("merges")
					 ": merge %u: too many hash collisions", t->path, i);
			goto out;
		}
		slot->index = i + 1;
	}
	ret = 0;
out:
	free(joined);
	return ret;
}

/* --------------------------------------------------------- special tokens */

/* Absent and all ones mean that there is none: -ENOENT. */
static int read_id(const struct linnet_tokenizer *t, const struct linnet_gguf *g,
		   const char *key, int32_t *id, struct linnet_error *err)
{
	uint32_t value;
	int ret = linnet_gguf_get_u32(g, key, &value, err);

	if (ret)
		return ret;
	if (value == UINT32_MAX)
		return -ENOENT;
	if (value >= t->n_tokens)
		return linnet_err(err, -EINVAL, "%s: %s: %u, but there are %u tokens", t->path, key,
				  value, t->n_tokens);
	*id = value;
	return 0;
}

static int32_t find_string(const struct linnet_tokenizer *t, const char *text)
{
	return vocab_find(t, text, strlen(text));
}

/*
 * Which tokens end a generation is not in the file: the ids that have a key do,
 * and these texts. Those marked `always` are unmistakable; the others could be
 * words, and count when the vocabulary calls them control tokens.
 */
static const struct {
	const char *text;
	bool always;
} end_texts[] = {
	{ "<|eot_id|>", true },
	{ "<|eom_id|>", true },
	{ "<|im_end|>", true },
	{ "<|end|>", true },
	{ "<|endoftext|>", true },
	{ "<|end_of_text|>", true },
	{ "<|return|>", true },
	{ "<|call|>", true },
	{ "<|calls|>", true },
	{ "<|flush|>", true },
	{ "<|EOT|>", true },
	{ "<end_of_turn>", true },
	{ "<end_of_utterance>", true },
	{ "<\xEF\xBD\x9C" "end\xE2\x96\x81" "of\xE2\x96\x81" "sentence\xEF\xBD\x9C>", true },
	{ "</s>", false },
	{ "<eos>", false },
	{ "<EOT>", false },
	{ "_<EOT>", false },
	{ "[EOT]", false },
	{ "[EOS]", false },
	{ "[e~[", false },
	{ "<turn|>", false },
	{ "<|fim_pad|>", false },
	{ "<|fim_repo|>", false },
	{ "<|repo_name|>", false },
	{ "<|file_sep|>", false },
};

static void set_end(struct linnet_tokenizer *t, int32_t id)
{
	t->attr[id] = TOKEN_CONTROL | TOKEN_END;
}

static int find_ends(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		     struct linnet_error *err)
{
	static const char *const keys[] = {
		KEY("eot_token_id"), KEY("eom_token_id"), KEY("fim_pad_token_id"),
		KEY("fim_rep_token_id"), KEY("fim_sep_token_id"),
	};
	struct linnet_gguf_array more;
	int32_t id, end;
	int ret;

	for (size_t i = 0; i < sizeof(end_texts) / sizeof(end_texts[0]); i++) {
		id = find_string(t, end_texts[i].text);
		if (id >= 0 && (end_texts[i].always || vocab_type(t, id) == TOKEN_CONTROL))
			set_end(t, id);
	}
	/* Harmony closes every message with <|end|>, and the turn with <|return|>. */
	end = find_string(t, "<|end|>");
	if (end >= 0 && ((find_string(t, "<|return|>") >= 0 && find_string(t, "<|call|>") >= 0) ||
			 (find_string(t, "<|flush|>") >= 0 &&
			  (find_string(t, "<|call|>") >= 0 || find_string(t, "<|calls|>") >= 0))))
		t->attr[end] = TOKEN_CONTROL;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		ret = read_id(t, g, keys[i], &id, err);
		if (!ret)
			set_end(t, id);
		else if (ret != -ENOENT)
			return ret;
	}
	/* Ollama's converter lists all that the model's configuration names. */
	ret = linnet_gguf_get_array(g, KEY("eos_token_ids"), LINNET_GGUF_I32, &more, err);
	if (ret && ret != -ENOENT)
		return ret;
	for (size_t i = 0; !ret && i < more.n; i++) {
		id = ((const int32_t *)more.data)[i];
		if (id < 0 || (uint32_t)id >= t->n_tokens)
			return linnet_err(err, -EINVAL, "%s: " KEY("eos_token_ids")
					  ": element %zu is %d, but there are %u tokens", t->path,
					  i, id, t->n_tokens);
		set_end(t, id);
	}
	if (t->eos >= 0)
		set_end(t, t->eos);
	return 0;
}

static int read_special(struct linnet_tokenizer *t, const struct linnet_gguf *g,
			struct linnet_error *err)
{
	struct {
		const char *key;
		int32_t *id;
		int32_t usual;		/* where SentencePiece puts it */
		enum token_type type;
	} ids[] = {
		{ KEY("bos_token_id"), &t->bos, 1, TOKEN_CONTROL },
		{ KEY("eos_token_id"), &t->eos, 2, TOKEN_CONTROL },
		{ KEY("unknown_token_id"), &t->unk, 0, TOKEN_UNKNOWN },
	};
	struct {
		const char *key;
		bool *flag;
		const int32_t *needs;
	} flags[] = {
		{ KEY("add_bos_token"), &t->add_bos, &t->bos },
		{ KEY("add_eos_token"), &t->add_eos, &t->eos },
		{ KEY("add_space_prefix"), &t->add_space_prefix, NULL },
	};
	int ret;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		*ids[i].id = VOCAB_NONE;
		if (!linnet_gguf_find(g, ids[i].key)) {
			if (t->kind == VOCAB_SPM && (uint32_t)ids[i].usual < t->n_tokens &&
			    vocab_type(t, ids[i].usual) == ids[i].type)
				*ids[i].id = ids[i].usual;
			continue;
		}
		ret = read_id(t, g, ids[i].key, ids[i].id, err);
		if (ret && ret != -ENOENT)
			return ret;
	}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		ret = linnet_gguf_get_bool(g, flags[i].key, flags[i].flag, err);
		if (ret && ret != -ENOENT)
			return ret;
		if (!ret && flags[i].needs && *flags[i].flag && *flags[i].needs < 0)
			return linnet_err(err, -EINVAL, "%s: %s: true, but the token has no id",
					  t->path, flags[i].key);
	}
	return find_ends(t, g, err);
}

/* Phi-3's own tokenizer swallows white space after its added tokens; GGUF does
 * not say so, only the model's name tells. */
static int set_rstrip(struct linnet_tokenizer *t, const struct linnet_gguf *g,
		      struct linnet_error *err)
{
	static const char *const not[] = { "<unk>", "<s>", "<|endoftext|>" };
	struct linnet_str name;
	bool phi3 = false;
	int ret = linnet_gguf_get_str(g, "general.name", &name, err);

	if (ret)
		return ret == -ENOENT ? 0 : ret;
	for (size_t i = 0; i < name.n && !phi3; i++)
		phi3 = (name.n - i >= 4 && !strncasecmp(name.p + i, "phi3", 4)) ||
		       (name.n - i >= 5 && !strncasecmp(name.p + i, "phi-3", 5));
	if (!phi3)
		return 0;
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		enum token_type type = vocab_type(t, i);

		if (type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED)
			t->attr[i] |= TOKEN_RSTRIP;
	}
	for (size_t i = 0; i < sizeof(not) / sizeof(not[0]); i++) {
		int32_t id = find_string(t, not[i]);

		if (id >= 0)
			t->attr[id] &= ~TOKEN_RSTRIP;
	}
	return 0;
}

static bool is_special(const struct linnet_tokenizer *t, uint32_t id)
{
	enum token_type type = vocab_type(t, id);

	return t->token[id].n && (type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED ||
				  type == TOKEN_UNKNOWN);
}

struct special_text {
	struct linnet_str s;
	int32_t id;
};

static int compare_texts(const void *pa, const void *pb)
{
	const struct special_text *a = pa, *b = pb;
	int order = memcmp(a->s.p, b->s.p, a->s.n < b->s.n ? a->s.n : b->s.n);

	return order ? order : (a->s.n > b->s.n) - (a->s.n < b->s.n);
}

static int sort_special(struct linnet_tokenizer *t, struct linnet_error *err)
{
	struct special_text *sorted;
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_tokens; i++) {
		if (!is_special(t, i))
			continue;
		if (t->token[i].n > VOCAB_MAX_SPECIAL_BYTES)
			return linnet_err(err, -EINVAL, "%s: " KEY("tokens")
					  ": special token %u has %zu bytes, at most %u expected",
					  t->path, i, t->token[i].n, VOCAB_MAX_SPECIAL_BYTES);
		n++;
	}
	t->special = vocab_alloc(t, n, sizeof(*t->special));
	sorted = malloc((n ? n : 1) * sizeof(*sorted));
	if (!t->special || !sorted) {
		free(sorted);
		return no_memory(t, err);
	}
	for (uint32_t i = 0; i < t->n_tokens; i++) {
		if (is_special(t, i))
			sorted[t->n_special++] = (struct special_text){ t->token[i], i };
	}
	qsort(sorted, n, sizeof(*sorted), compare_texts);
	for (uint32_t i = 0, byte = 0; byte <= 256; byte++) {
		while (i < n && (uint8_t)sorted[i].s.p[0] < byte)
			i++;
		t->special_start[byte] = i;
	}
	for (uint32_t i = 0; i < n; i++)
		t->special[i] = sorted[i].id;
	free(sorted);
	return 0;
}

/* ------------------------------------------------------------------- all */

static bool str_is(const struct linnet_str *s, const char *text)
{
	return s->n == strlen(text) && !memcmp(s->p, text, s->n);
}

static int create_pretokenizer(struct linnet_tokenizer *t, const struct linnet_gguf *g,
			       struct linnet_error *err)
{
	struct linnet_str pre = { "default", 7 };
	struct pretokenizer_traits traits;
	int ret;

	ret = linnet_gguf_get_str(g, KEY("pre"), &pre, err);
	if (ret && ret != -ENOENT)
		return ret;
	/* A name with a zero byte in it is none of ours. */
	ret = strlen(pre.p) == pre.n ? pretokenizer_create(&t->pre, pre.p, &traits) : -ENOTSUP;
	if (ret == -ENOTSUP)
		return linnet_err(err, ret, "%s: " KEY("pre")
				  ": pre-tokenizer '%.64s' is not supported", t->path, pre.p);
	if (ret)
		return no_memory(t, err);
	t->ignore_merges = traits.ignore_merges;
	t->add_bos = traits.add_bos;
	return 0;
}

void linnet_tokenizer_destroy(struct linnet_tokenizer *t)
{
	if (!t)
		return;
	pretokenizer_destroy(t->pre);
	free(t->attr);
	free(t->by_text.slot);
	free(t->rank);
	free(t->pair_set);
	free(t->merge);
	free(t->by_pair.slot);
	free(t->special);
	free(t);
}

int linnet_tokenizer_create(struct linnet_tokenizer **out, const struct linnet_gguf *g,
			    struct linnet_error *err)
{
	const char *path = linnet_gguf_path(g);
	struct linnet_tokenizer *t;
	struct linnet_str model;
	int ret;

	ret = linnet_gguf_get_str(g, KEY("model"), &model, err);
	if (ret == -ENOENT || (!ret && (str_is(&model, "none") || str_is(&model, "no_vocab"))))
		return linnet_err(err, -ENOENT, "%s: " KEY("model") ": the file has no vocabulary",
				  path);
	if (ret)
		return ret;
	if (!str_is(&model, "llama") && !str_is(&model, "gpt2"))
		return linnet_err(err, -ENOTSUP, "%s: " KEY("model")
				  ": tokenizer '%.64s' is not supported", path, model.p);

	t = calloc(1, sizeof(*t));
	if (!t)
		return linnet_err(err, -ENOMEM, "%s: no memory for the vocabulary", path);
	t->bytes = sizeof(*t);
	t->path = path;
	t->kind = str_is(&model, "llama") ? VOCAB_SPM : VOCAB_BPE;

	ret = read_tokens(t, g, err);
	if (!ret)
		ret = read_types(t, g, err);
	if (!ret && t->kind == VOCAB_SPM) {
		t->add_bos = true;
		t->add_space_prefix = true;
		ret = read_scores(t, g, err);
		if (!ret)
			ret = make_pair_set(t, err);
	}
	if (!ret && t->kind == VOCAB_BPE) {
		ret = create_pretokenizer(t, g, err);
		if (!ret)
			ret = read_merges(t, g, err);
	}
	if (!ret)
		ret = read_special(t, g, err);
	if (!ret)
		ret = set_rstrip(t, g, err);
	if (!ret)
		ret = sort_special(t, err);
	if (ret) {
		linnet_tokenizer_destroy(t);
		return ret;
	}
	*out = t;
	return 0;
}
