/* SPDX-License-Identifier: MIT */
/*
 * Saved prefixes: pages of the KV cache in the files of a folder, so that a text that
 * begins as an earlier one did is not computed again. A file holds one page of
 * LINNET_KV_PAGE positions, and its name is a hash (XXH3, 128 bits) of the model, the
 * cache's layout and all tokens up to the page's end: texts share the files of what
 * they have in common.
 *
 * A file is used only when all of it is right: its header repeats the model's hash and
 * every token, which are compared, and checksums cover header and page. What is not
 * right is ignored, counted and removed. A file appears under its name in whole: it is
 * written beside it, synced, and renamed. A process that dies leaves at most a
 * temporary file, which the next one to save removes. Any number of processes may use
 * a folder; when it would outgrow its limit, what was used longest ago goes first.
 *
 * File: struct linnet_prefix_header, the tokens (int32), zeros up to a multiple of 4096;
 * then the page as it is in memory. In the order of bytes of the machine that wrote it.
 */
#ifndef LINNET_MEMORY_PREFIX_H
#define LINNET_MEMORY_PREFIX_H

#include "runtime/queue/queue.h"

struct linnet_hash128 {
	uint64_t v[2];
};

#define LINNET_PREFIX_MAGIC "LINNETKV"
/* Also stands for what computing gives: raised with every change of its bits. */
#define LINNET_PREFIX_VERSION 5

struct linnet_prefix_header {
	char magic[8];
	uint32_t version, n_tokens;
	uint64_t header_bytes, page_bytes;
	struct linnet_hash128 model;
	struct linnet_hash128 page_sum;		/* of the page */
	struct linnet_hash128 sum;		/* of the header with this field zero */
};

struct linnet_prefix;

struct linnet_prefix_stats {
	uint32_t loaded, saved, rejected, evicted;	/* pages */
	char note[160];		/* why the last file was rejected, or "" */
	char save_note[400];	/* the folder, and why the last page was not saved; or "" */
};

/* Memory that loading and saving take for sequences of n_ctx tokens. */
uint64_t linnet_prefix_bytes(uint32_t n_ctx);

/*
 * Use a folder, which is made when it is not there (its parent must be). model: hash of
 * everything that a page's bytes depend on but the tokens. page_bytes: a multiple of 4096.
 */
int linnet_prefix_open(struct linnet_prefix **out, const char *dir, uint64_t max_bytes,
		       struct linnet_hash128 model, uint64_t page_bytes, struct linnet_error *err);
void linnet_prefix_close(struct linnet_prefix *p);

/*
 * Read page number `page` of the text that begins with ids[0 .. (page + 1) *
 * LINNET_KV_PAGE) into buf, which is aligned to 4096 and of page_bytes. 1: done; 0: there
 * is none, buf is untouched; -errno: there is none and buf holds anything.
 */
int linnet_prefix_load(struct linnet_prefix *p, struct linnet_queue *q, const int32_t *ids,
		       uint32_t page, void *buf);

/* Save a page: 1; 0: it is there already; -errno: it was not saved, the note says why. */
int linnet_prefix_save(struct linnet_prefix *p, const int32_t *ids, uint32_t page,
		       const void *buf);
/* Make what was saved outlast a loss of power. */
void linnet_prefix_sync(struct linnet_prefix *p);

void linnet_prefix_stats(const struct linnet_prefix *p, struct linnet_prefix_stats *stats);

#endif
