/* SPDX-License-Identifier: MIT */
/*
 * Inside runtime/text: a vocabulary that has been read and checked, with the
 * look-ups that encoding needs.
 */
#ifndef LINNET_TEXT_VOCAB_H
#define LINNET_TEXT_VOCAB_H

#include "pretokenize.h"
#include "tokenizer.h"

#define VOCAB_NONE (-1)
/* Rank of a pair that never merges. */
#define RANK_NONE UINT32_MAX
/* A special token is searched for at every place of a text: bounds that search. */
#define VOCAB_MAX_SPECIAL_BYTES 4096

enum vocab_kind {
	VOCAB_SPM,	/* pieces of text, merged by score, unknown characters as bytes */
	VOCAB_BPE,	/* pieces of bytes, merged by a list of merges */
};

/* tokenizer.ggml.token_type */
enum token_type {
	TOKEN_UNDEFINED = 0,
	TOKEN_NORMAL = 1,
	TOKEN_UNKNOWN = 2,
	TOKEN_CONTROL = 3,
	TOKEN_USER_DEFINED = 4,
	TOKEN_UNUSED = 5,
	TOKEN_BYTE = 6,
};

/* linnet_tokenizer.attr[]: the type, and what else is known of a token. */
#define TOKEN_TYPE 0x07
#define TOKEN_END 0x08		/* ends a generation */
#define TOKEN_RSTRIP 0x10	/* swallows white space after it */

/* Open addressing; index is the element plus one, 0 marks a free slot. */
struct vocab_slot {
	uint32_t tag;
	uint32_t index;
};

struct vocab_table {
	struct vocab_slot *slot;
	uint32_t mask;
};

/* Merge number i has rank i. */
struct vocab_merge {
	int32_t left, right, to;
};

struct linnet_tokenizer {
	enum vocab_kind kind;
	const char *path;		/* for messages */
	const struct linnet_str *token;
	uint32_t n_tokens;
	uint32_t max_token_bytes;
	uint8_t *attr;

	struct vocab_table by_text;	/* every token that is not empty */

	/* VOCAB_SPM: order of merging by token, equal scores have equal ranks. */
	uint32_t *rank;
	/*
	 * VOCAB_SPM: hashes of the pairs of neighbouring characters inside tokens, as
	 * bits. Where a pair is not in the set, no token spans it and text may be cut.
	 */
	uint64_t *pair_set;

	/* VOCAB_BPE */
	struct vocab_merge *merge;
	uint32_t n_merges;
	struct vocab_table by_pair;
	struct pretokenizer *pre;
	bool ignore_merges;		/* a word that is a token is not merged up */

	int32_t byte_id[256];		/* token of a byte, or VOCAB_NONE */

	/* Tokens found in text before anything else, sorted by their bytes. */
	int32_t *special;
	uint32_t n_special;
	uint32_t special_start[257];	/* by first byte */

	int32_t bos, eos, unk;
	bool add_bos, add_eos, add_space_prefix;
	size_t bytes;
};

/* ids outside the vocabulary must not come here */
static inline enum token_type vocab_type(const struct linnet_tokenizer *t, int32_t id)
{
	return t->attr[id] & TOKEN_TYPE;
}

/* The token with this text, of any type, or VOCAB_NONE. */
int32_t vocab_find(const struct linnet_tokenizer *t, const char *p, size_t n);
/* Rank of merging two tokens, or RANK_NONE; *to gets the result. VOCAB_BPE only. */
uint32_t vocab_find_merge(const struct linnet_tokenizer *t, int32_t left, int32_t right,
			  int32_t *to);
/* False when no token of a VOCAB_SPM vocabulary holds b right after a. */
bool vocab_may_span(const struct linnet_tokenizer *t, uint32_t a, uint32_t b);

/* The byte that a token like "<0x4F>" stands for; -1 for any other text. */
int vocab_byte_token(const struct linnet_str *s);

/* Byte of a character of the byte-level alphabet, or -1; and back (two bytes at most). */
int byte_level_decode(uint32_t ch);
int byte_level_encode(uint8_t byte, char out[2]);

/*
 * Length of the UTF-8 character at p (n bytes are there), and the character;
 * 0 when there is none (overlong forms, surrogates, cut off, n == 0).
 */
int utf8_char(const char *p, size_t n, uint32_t *ch);

/* Merge words up and emit tokens; see merge.c. */
struct encoder {
	const struct linnet_tokenizer *t;
	int32_t *ids;
	size_t cap;
	uint64_t count;
	struct merge_node *node;	/* scratch for long words, grown on demand */
	size_t node_cap;
	struct merge_entry *heap;
	size_t heap_cap;
	char *buf;			/* text of a word, as tokens spell it */
	size_t buf_len, buf_cap;
};

static inline void encoder_emit(struct encoder *e, int32_t id)
{
	if (e->count < e->cap)
		e->ids[e->count] = id;
	e->count++;
}

void encoder_release(struct encoder *e);
/* Encode a piece of text that no special token interrupts. 0 or -errno. */
int encode_spm(struct encoder *e, const char *text, size_t n, bool space_prefix);
int encode_bpe(struct encoder *e, const char *text, size_t n);

#endif
