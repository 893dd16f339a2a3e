// SPDX-License-Identifier: MIT
/*
 * Encoding of a piece of text, both kinds of BPE: start from characters or bytes
 * and keep merging the neighbours that rank first, the leftmost of equals, until
 * no pair of neighbours is a token. Short words are searched from end to end at
 * every merge; long ones go through a heap, so that any text takes O(n log n).
 */
#include "vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/util/overflow.h"

/* Up to here searching an array beats a heap. */
#define SHORT_WORD 32

#define NODE_NONE UINT32_MAX

/* A run of bytes of the word that is one token so far (or none: VOCAB_NONE). */
struct merge_node {
	int32_t id;
	uint32_t start, len;	/* len 0: merged into the one before */
	uint32_t prev, next;
};

/* A pair that may be merged. Stale when the pair's length is not len any more:
 * nodes only grow, so another pair at this place is longer. */
struct merge_entry {
	uint64_t key;		/* rank, then place */
	uint32_t len;
	int32_t to;
};

static int grow(void *array, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap ? *cap : 64, bytes;
	void *p;

	if (n <= *cap)
		return 0;
	while (want < n) {
		if (linnet_mul_overflow(want, 2, &want))
			return -ENOMEM;
	}
	if (linnet_mul_overflow(want, size, &bytes))
		return -ENOMEM;
	p = realloc(*(void **)array, bytes);
	if (!p)
		return -ENOMEM;
	*(void **)array = p;
	*cap = want;
	return 0;
}

void encoder_release(struct encoder *e)
{
	free(e->node);
	free(e->heap);
	free(e->buf);
}

/* Rank of merging the neighbours a and b, and the token they become. */
static inline uint32_t pair_rank(const struct linnet_tokenizer *t, const char *word,
				 const struct merge_node *a, const struct merge_node *b,
				 int32_t *to)
{
	int32_t id;

	if (t->kind == VOCAB_BPE) {
		if (a->id < 0 || b->id < 0)
			return RANK_NONE;
		return vocab_find_merge(t, a->id, b->id, to);
	}
	if ((uint64_t)a->len + b->len > t->max_token_bytes)
		return RANK_NONE;
	id = vocab_find(t, word + a->start, a->len + b->len);
	if (id < 0)
		return RANK_NONE;
	*to = id;
	return t->rank[id];
}

static int emit_byte(struct encoder *e, uint8_t byte)
{
	static const uint8_t replacement[3] = { 0xEF, 0xBF, 0xBD };
	const struct linnet_tokenizer *t = e->t;

	if (t->byte_id[byte] >= 0) {
		encoder_emit(e, t->byte_id[byte]);
		return 0;
	}
	if (t->byte_id[0xEF] >= 0 && t->byte_id[0xBF] >= 0 && t->byte_id[0xBD] >= 0) {
		for (int i = 0; i < 3; i++)
			encoder_emit(e, t->byte_id[replacement[i]]);
		return 0;
	}
	if (t->unk < 0)
		return -EILSEQ;
	encoder_emit(e, t->unk);
	return 0;
}

/* A character that is no token: its bytes if they all are, or the unknown token. */
static int emit_unknown(struct encoder *e, const char *p, size_t n)
{
	const struct linnet_tokenizer *t = e->t;
	int ret = 0;

	if (t->kind == VOCAB_SPM && t->unk >= 0) {
		for (size_t i = 0; i < n; i++) {
			if (t->byte_id[(uint8_t)p[i]] < 0) {
				encoder_emit(e, t->unk);
				return 0;
			}
		}
	}
	for (size_t i = 0; i < n && !ret; i++)
		ret = emit_byte(e, p[i]);
	return ret;
}

static int emit_node(struct encoder *e, const char *word, const struct merge_node *node)
{
	if (node->id < 0)
		return emit_unknown(e, word + node->start, node->len);
	encoder_emit(e, node->id);
	return 0;
}

static int merge_short(struct encoder *e, const char *word, struct merge_node *node, unsigned n)
{
	uint32_t rank[SHORT_WORD];
	int32_t to[SHORT_WORD];
	int ret = 0;

	for (unsigned i = 0; i + 1 < n; i++)
		rank[i] = pair_rank(e->t, word, &node[i], &node[i + 1], &to[i]);
	while (n > 1) {
		unsigned best = 0;

		for (unsigned i = 1; i + 1 < n; i++) {
			if (rank[i] < rank[best])
				best = i;
		}
		if (rank[best] == RANK_NONE)
			break;
		node[best].id = to[best];
		node[best].len += node[best + 1].len;
		n--;
		for (unsigned i = best + 1; i < n; i++) {
			node[i] = node[i + 1];
			rank[i] = rank[i + 1];
			to[i] = to[i + 1];
		}
		if (best > 0)
			rank[best - 1] = pair_rank(e->t, word, &node[best - 1], &node[best],
						   &to[best - 1]);
		if (best + 1 < n)
			rank[best] = pair_rank(e->t, word, &node[best], &node[best + 1],
					       &to[best]);
	}
	for (unsigned i = 0; i < n && !ret; i++)
		ret = emit_node(e, word, &node[i]);
	return ret;
}

static void heap_up(struct merge_entry *heap, size_t i)
{
	struct merge_entry x = heap[i];

	while (i && x.key < heap[(i - 1) / 2].key) {
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = x;
}

static void heap_down(struct merge_entry *heap, size_t n, size_t i)
{
	struct merge_entry x = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && heap[child + 1].key < heap[child].key)
			child++;
		if (x.key <= heap[child].key)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = x;
}

static int heap_push(struct encoder *e, size_t *n, const char *word, uint32_t left)
{
	const struct merge_node *a = &e->node[left];
	uint32_t rank;
	int32_t to;

	if (a->next == NODE_NONE)
		return 0;
	rank = pair_rank(e->t, word, a, &e->node[a->next], &to);
	if (rank == RANK_NONE)
		return 0;
	if (grow(&e->heap, &e->heap_cap, *n + 1, sizeof(*e->heap)))
		return -ENOMEM;
	e->heap[*n] = (struct merge_entry){
		.key = (uint64_t)rank << 32 | left,
		.len = a->len + e->node[a->next].len,
		.to = to,
	};
	heap_up(e->heap, (*n)++);
	return 0;
}

static int merge_long(struct encoder *e, const char *word, uint32_t n)
{
	struct merge_node *node = e->node;
	size_t n_heap = 0;

	for (uint32_t i = 0; i < n; i++) {
		node[i].prev = i ? i - 1 : NODE_NONE;
		node[i].next = i + 1 < n ? i + 1 : NODE_NONE;
	}
	for (uint32_t i = 0; i + 1 < n; i++) {
		if (heap_push(e, &n_heap, word, i))
			return -ENOMEM;
	}
	while (n_heap) {
		struct merge_entry top = e->heap[0];
		struct merge_node *a = &node[(uint32_t)top.key];
		const struct merge_node *b;

		e->heap[0] = e->heap[--n_heap];
		if (n_heap)
			heap_down(e->heap, n_heap, 0);
		if (!a->len || a->next == NODE_NONE)
			continue;
		b = &node[a->next];
		if (a->len + b->len != top.len)
			continue;
		a->id = top.to;
		a->len = top.len;
		node[a->next].len = 0;
		a->next = b->next;
		if (a->next != NODE_NONE)
			node[a->next].prev = (uint32_t)top.key;
		if (a->prev != NODE_NONE && heap_push(e, &n_heap, word, a->prev))
			return -ENOMEM;
		if (heap_push(e, &n_heap, word, (uint32_t)top.key))
			return -ENOMEM;
	}
	for (uint32_t i = 0; i != NODE_NONE; i = node[i].next) {
		int ret = emit_node(e, word, &node[i]);

		if (ret)
			return ret;
	}
	return 0;
}

/* One node for each byte (VOCAB_BPE) or each character (VOCAB_SPM). */
static uint32_t make_nodes(const struct linnet_tokenizer *t, const char *word, size_t n,
			   struct merge_node *node)
{
	uint32_t count = 0;
	size_t at = 0;

	while (at < n) {
		size_t len = 1;
		uint32_t ch;

		if (t->kind == VOCAB_BPE) {
			node[count].id = t->byte_id[(uint8_t)word[at]];
		} else {
			len = utf8_char(word + at, n - at, &ch);
			if (!len)
				len = 1;
			node[count].id = vocab_find(t, word + at, len);
			if (node[count].id >= 0 && t->rank[node[count].id] == RANK_NONE)
				node[count].id = VOCAB_NONE;
		}
		node[count].start = at;
		node[count].len = len;
		at += len;
		count++;
	}
	return count;
}

static int encode_word(struct encoder *e, const char *word, size_t n)
{
	if (n <= SHORT_WORD) {
		struct merge_node node[SHORT_WORD];

		return merge_short(e, word, node, make_nodes(e->t, word, n, node));
	}
	if (grow(&e->node, &e->node_cap, n, sizeof(*e->node)))
		return -ENOMEM;
	return merge_long(e, word, make_nodes(e->t, word, n, e->node));
}

/* The token that a whole word is in a byte-level vocabulary, or VOCAB_NONE. */
static int32_t find_word(struct encoder *e, const char *word, size_t n)
{
	size_t len = 0;

	if (n > e->t->max_token_bytes || grow(&e->buf, &e->buf_cap, 2 * n, 1))
		return VOCAB_NONE;
	for (size_t i = 0; i < n; i++)
		len += byte_level_encode(word[i], e->buf + len);
	return vocab_find(e->t, e->buf, len);
}

static int bpe_word(void *ctx, const char *word, size_t n)
{
	struct encoder *e = ctx;

	if (e->t->ignore_merges) {
		int32_t id = find_word(e, word, n);

		if (id >= 0 && vocab_type(e->t, id) != TOKEN_CONTROL &&
		    vocab_type(e->t, id) != TOKEN_UNKNOWN) {
			encoder_emit(e, id);
			return 0;
		}
	}
	return encode_word(e, word, n);
}

int encode_bpe(struct encoder *e, const char *text, size_t n)
{
	return pretokenizer_split(e->t->pre, text, n, bpe_word, e);
}

/*
 * Spaces are spelled U+2581 in the vocabulary. The text is cut where no token can
 * span two characters; merging what lies between is merging the whole.
 */
int encode_spm(struct encoder *e, const char *text, size_t n, bool space_prefix)
{
	static const char space[3] = { '\xE2', '\x96', '\x81' };
	uint32_t last = 0, ch;
	size_t at = 0;

	e->buf_len = 0;
	if (space_prefix) {
		if (grow(&e->buf, &e->buf_cap, sizeof(space), 1))
			return -ENOMEM;
		memcpy(e->buf, space, sizeof(space));
		e->buf_len = sizeof(space);
		last = 0x2581;
	}
	while (at < n) {
		const char *p = text + at;
		size_t len = utf8_char(p, n - at, &ch);

		if (!len) {
			/* Surrogates are no characters: they stand for odd bytes here. */
			ch = 0xD800 | (uint8_t)*p;
			len = 1;
		}
		at += len;
		if (ch == ' ') {
			ch = 0x2581;
			p = space;
			len = sizeof(space);
		}
		if (e->buf_len && !vocab_may_span(e->t, last, ch)) {
			int ret = encode_word(e, e->buf, e->buf_len);

			if (ret)
				return ret;
			e->buf_len = 0;
		}
		if (grow(&e->buf, &e->buf_cap, e->buf_len + len, 1))
			return -ENOMEM;
		memcpy(e->buf + e->buf_len, p, len);
		e->buf_len += len;
		last = ch;
	}
	return e->buf_len ? encode_word(e, e->buf, e->buf_len) : 0;
}
