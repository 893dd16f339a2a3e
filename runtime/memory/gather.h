/* SPDX-License-Identifier: MIT */
/*
 * Rows of a matrix that is not in memory: a pass needs one row of the embeddings for
 * each token, which are a few kilobytes of hundreds of megabytes. Each row is read by
 * itself into a table, in the order of the tokens. So a pass can also begin when the matrix
 * has not been read yet.
 */
#ifndef LINNET_MEMORY_GATHER_H
#define LINNET_MEMORY_GATHER_H

#include "weights.h"

struct linnet_gather;

/* Memory for at most n_rows rows of t, in bytes. */
uint64_t linnet_gather_bytes(const struct linnet_gguf_tensor *t, uint32_t n_rows);

/* Reads go through w's files and queue; w must outlive the gather. */
int linnet_gather_create(struct linnet_gather **out, struct linnet_weights *w,
			 const struct linnet_gguf_tensor *t, uint32_t n_rows,
			 struct linnet_error *err);
/* Waits for the reads in flight. */
void linnet_gather_destroy(struct linnet_gather *g);

/* The table: n_rows rows of t's row length, from the start of the region. */
const struct linnet_region *linnet_gather_table(const struct linnet_gather *g);

/* Start reading; nothing may be under way. row[i] < t->ne[1] becomes row i of the table. */
void linnet_gather_start(struct linnet_gather *g, const int32_t *row, uint32_t n);

/* 1: all rows are there; 0: not yet, wait on the queue; -errno: a read failed. */
int linnet_gather_ready(const struct linnet_gather *g, struct linnet_error *err);

/* Nobody needs the rows any more: give back what memory they take. Nothing may be under way. */
void linnet_gather_drop(struct linnet_gather *g);

#endif
