// SPDX-License-Identifier: MIT
/*
 * Executes streams, keeps exec.h. An operation is one or more phases; in each, the
 * threads claim pieces of work until none is left, then meet at a barrier. How the
 * work is cut depends on the number of threads, what a piece computes does not.
 *
 * What is one piece of work, as most small operations on a single token are, has no
 * phase of its own: whoever comes last to the barrier before it does it, up to the next
 * shared operation, and then lets the others go. Those fetch what they will read of the
 * next matrix meanwhile.
 */
#include "exec.h"
#include "cut.h"
#include "ref/math.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define ALIGN 64

/* Queries that one call of the attention kernel gets at the most. */
#define TILE_QUERIES 64

/* Bytes of scratch. Operands may have strides of zero, so sizes of 2^80 and more can
 * be asked for by a few bytes of stream: sums and products stick at the largest. */
struct need {
	uint64_t shared, thread;
};

static uint64_t sat_add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t sat_mul(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t need_total(const struct need *need, unsigned n_threads)
{
	return sat_add(need->shared, sat_mul(need->thread, n_threads));
}

/* One thread's view of one operation. */
struct work {
	struct linnet_exec *x;
	const struct linnet_op *op;
	uint32_t op_index, phase;
	unsigned thread;
	char *shared, *own;
	bool alone;			/* no other thread works: claims are its own */
	bool packed;			/* the activations of a product are packed already */
	uint64_t next;			/* claim, when alone */
};

static size_t align_up(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/*
 * The first failure is kept with its operation and phase: a slow thread that looks
 * after a barrier must not see what a fast one failed at beyond it, or the threads
 * would part ways.
 */
#define PHASES 4

static uint64_t phase_tag(const struct work *w)
{
	return (uint64_t)w->op_index * PHASES + w->phase + 1;
}

static void fail(struct work *w, int code)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong(&w->x->failure, &none, phase_tag(w) << 32 | (uint32_t)-code);
}

/* End a phase. False: it failed on some thread, and all threads hear so. */
static bool next_phase(struct work *w)
{
	uint64_t failure;

	linnet_team_barrier(w->x->team);
	failure = atomic_load(&w->x->failure);
	if (failure && failure >> 32 <= phase_tag(w))
		return false;
	w->phase++;
	return true;
}

static bool interrupted(const struct work *w)
{
	return w->x->interrupt && atomic_load_explicit(w->x->interrupt, memory_order_relaxed);
}

/* An operation can be long: who is interrupted leaves the rest of its work undone. */
static bool goes_on(struct work *w)
{
	if (!w->thread && w->x->poll)
		w->x->poll(w->x->poll_ctx);
	if (!interrupted(w))
		return true;
	fail(w, -EINTR);
	return false;
}

static uint64_t claim(struct work *w)
{
	if (w->alone)
		return w->next++;
	return goes_on(w) ? linnet_team_claim(w->x->team) : UINT64_MAX;
}

#define for_each_claim(w, i, n) for (uint64_t i = claim(w); i < (n); i = claim(w))

static uint32_t dim(const struct work *w, unsigned operand, unsigned i)
{
	return linnet_dim(w->op->operand[operand].ne[i], w->x->params);
}

static char *at(const struct work *w, unsigned operand, uint64_t i1, uint64_t i2, uint64_t i3)
{
	const struct linnet_operand *o = &w->op->operand[operand];

	return w->x->base[o->slot] + o->offset + i1 * o->nb[0] + i2 * o->nb[1] + i3 * o->nb[2];
}

static float *row_f32(const struct work *w, unsigned operand, uint64_t i1, uint64_t i2)
{
	return (float *)at(w, operand, i1, i2, 0);
}

static const float *optional_f32(const struct work *w, unsigned operand)
{
	return linnet_operand_present(&w->op->operand[operand]) ? row_f32(w, operand, 0, 0) : NULL;
}

static const int32_t *row_i32(const struct work *w, unsigned operand, uint64_t i1)
{
	return (const int32_t *)at(w, operand, i1, 0, 0);
}

/*
 * A number in memory that is checked before it is used. Others may write there at the
 * same time: slots may share memory, and regions are shared with other processes. So it
 * is read once.
 */
static int32_t read_once(const int32_t *p)
{
	return *(const volatile int32_t *)p;
}

/* ------------------------------------------------------------ small operations */

static void run_get_rows(struct work *w)
{
	const struct linnet_kernels *k = w->x->k;
	const uint32_t type = w->op->operand[1].type;
	const uint32_t n = dim(w, 0, 0), tokens = dim(w, 0, 1), rows = dim(w, 1, 1);
	const float scale = linnet_attr_f32(w->op, 0);
	const int32_t *ids = row_i32(w, 2, 0);

	for_each_claim(w, t, tokens) {
		float *dst = row_f32(w, 0, t, 0);
		int32_t id = read_once(&ids[t]);

		if (id < 0 || (uint32_t)id >= rows) {
			fail(w, -ERANGE);
			return;
		}
		k->dequantize[type](dst, at(w, 1, id, 0, 0), n);
		if (scale != 1)
			for (uint32_t i = 0; i < n; i++)
				dst[i] *= scale;
	}
}

static void run_rms_norm(struct work *w)
{
	const uint32_t n = dim(w, 0, 0), heads = dim(w, 0, 1), tokens = dim(w, 0, 2);
	const float *weight = optional_f32(w, 2);
	const float eps = linnet_attr_f32(w->op, 0);

	/* two-dimensional operands have their tokens in dimension 1 */
	if (w->op->operand[0].n_dims == 2) {
		for_each_claim(w, t, heads)
			w->x->k->rms_norm(row_f32(w, 0, t, 0), row_f32(w, 1, t, 0), weight, eps, n);
		return;
	}
	for_each_claim(w, t, tokens)
		for (uint32_t h = 0; h < heads; h++)
			w->x->k->rms_norm(row_f32(w, 0, h, t), row_f32(w, 1, h, t), weight, eps, n);
}

static void run_rope_table(struct work *w)
{
	const uint32_t r = dim(w, 0, 0), tokens = dim(w, 0, 1);
	const double base = linnet_attr_f32(w->op, 0), scale = linnet_attr_f32(w->op, 1);
	const double ext = linnet_attr_f32(w->op, 2), low = linnet_attr_f32(w->op, 3);
	const double high = linnet_attr_f32(w->op, 4), m = linnet_attr_f32(w->op, 5);
	const float *factors = optional_f32(w, 2);
	const int32_t *pos = row_i32(w, 1, 0);

	for_each_claim(w, t, tokens) {
		float *dst = row_f32(w, 0, t, 0);

		for (uint32_t i = 0; i < r / 2; i++) {
			double e = pos[t] * pow(base, -2.0 * i / r);
			double ramp = (i - low) / fmax(0.001, high - low);
			double mix = (1 - fmin(1, fmax(0, ramp))) * ext;
			double a;

			if (factors)
				e /= factors[i];
			a = scale * e * (1 - mix) + e * mix;
			dst[2 * i] = (float)(m * cos(a));
			dst[2 * i + 1] = (float)(m * sin(a));
		}
	}
}

static void run_rope(struct work *w)
{
	const uint32_t n = dim(w, 0, 0), heads = dim(w, 0, 1), tokens = dim(w, 0, 2);
	const uint32_t r = dim(w, 2, 0);

	for_each_claim(w, t, tokens) {
		const float *table = row_f32(w, 2, t, 0);

		for (uint32_t h = 0; h < heads; h++)
			w->x->k->rope[w->op->attr[0]](row_f32(w, 0, h, t), row_f32(w, 1, h, t),
						      table, r, n);
	}
}

static void run_glu(struct work *w)
{
	const bool flat = w->op->operand[0].n_dims == 2;
	const uint32_t n = dim(w, 0, 0), d1 = dim(w, 0, 1), d2 = dim(w, 0, 2);
	/* rows are cut so that a single token's work is shared too */
	const uint32_t cut = 2048, cuts = (n + cut - 1) / cut;
	const uint64_t rows = (uint64_t)d1 * (flat ? 1 : d2);

	for_each_claim(w, i, rows * cuts) {
		uint64_t row = i / cuts, from = i % cuts * cut;
		uint64_t i1 = row % d1, i2 = row / d1;
		size_t len = n - from < cut ? n - from : cut;

		w->x->k->glu[w->op->attr[0]](row_f32(w, 0, i1, i2) + from,
					     row_f32(w, 1, i1, i2) + from,
					     row_f32(w, 2, i1, i2) + from, len);
	}
}

static void run_add(struct work *w)
{
	for_each_claim(w, t, dim(w, 0, 1))
		w->x->k->add(row_f32(w, 0, t, 0), row_f32(w, 1, t, 0), row_f32(w, 2, t, 0),
			     dim(w, 0, 0));
}

static void run_softcap(struct work *w)
{
	const float cap = linnet_attr_f32(w->op, 0);

	for_each_claim(w, t, dim(w, 0, 1))
		w->x->k->softcap(row_f32(w, 0, t, 0), row_f32(w, 1, t, 0), cap, dim(w, 0, 0));
}

/* ------------------------------------------------------------- matrix products */

static bool act_used(const struct linnet_op *op, enum linnet_act act)
{
	for (uint32_t i = 2; i < op->n_operands; i += 3)
		if (linnet_type_info(op->operand[i].type)->act == act)
			return true;
	return false;
}

static void need_matmul(const struct linnet_op *op, const uint32_t *params,
			const struct linnet_kernels *k, struct need *need)
{
	const uint32_t cols = linnet_dim(op->operand[0].ne[0], params);
	const uint32_t tokens = linnet_dim(op->operand[0].ne[1], params);

	for (unsigned a = 0; a < LINNET_ACT_COUNT; a++)
		if (act_used(op, a))
			need->shared += align_up(k->act_bytes(a, cols, tokens));
	for (uint32_t i = 2; i < op->n_operands; i += 3) {
		size_t n = align_up(k->matmul_scratch(op->operand[i].type, cols, tokens));

		if (need->thread < n)
			need->thread = n;
	}
}

/* Lay out the packed activations of a product in the shared scratch; returns how many. */
static unsigned matmul_acts(const struct work *w, struct linnet_act_buf acts[LINNET_ACT_COUNT],
			    unsigned used[LINNET_ACT_COUNT])
{
	const uint32_t cols = dim(w, 0, 0), tokens = dim(w, 0, 1);
	char *buf = w->shared;
	unsigned n = 0;

	for (unsigned a = 0; a < LINNET_ACT_COUNT; a++) {
		if (!act_used(w->op, a))
			continue;
		acts[a] = (struct linnet_act_buf){ buf, cols, tokens };
		buf += align_up(w->x->k->act_bytes(a, cols, tokens));
		used[n++] = a;
	}
	return n;
}

static void matmul_pack(struct work *w, const struct linnet_act_buf *acts, const unsigned *used,
			unsigned n)
{
	const struct linnet_kernels *k = w->x->k;
	const uint32_t tokens = dim(w, 0, 1);
	const size_t granules = (tokens + k->act_granule - 1) / k->act_granule;

	for_each_claim(w, i, n * granules) {
		unsigned a = used[i / granules];
		size_t t0 = i % granules * k->act_granule;
		size_t t1 = t0 + k->act_granule < tokens ? t0 + k->act_granule : tokens;

		k->act_pack(a, &acts[a], row_f32(w, 0, 0, 0), w->op->operand[0].nb[0] / 4, t0, t1);
	}
}

static void run_matmul(struct work *w)
{
	const struct linnet_kernels *k = w->x->k;
	const struct linnet_op *op = w->op;
	struct linnet_act_buf acts[LINNET_ACT_COUNT];
	unsigned used[LINNET_ACT_COUNT];
	const unsigned n_used = matmul_acts(w, acts, used);
	/* a thread's first piece is known beforehand, so that it can be fetched ahead */
	uint64_t piece = w->thread;
	struct linnet_cut c;
	bool more;

	if (!w->packed) {
		matmul_pack(w, acts, used, n_used);
		if (!next_phase(w))
			return;
	}

	more = linnet_cut_begin(&c, op, w->x->params, k, w->x->team->n);
	for (bool going = goes_on(w); going; going = goes_on(w)) {
		const struct linnet_operand *weight;
		struct linnet_matmul mm;

		while (more && c.piece < piece)
			more = linnet_cut_next(&c);
		if (!more)
			break;
		weight = &op->operand[2 + 3 * c.matrix];
		mm = (struct linnet_matmul){
			.y = row_f32(w, 1 + 3 * c.matrix, 0, 0) + c.row0,
			.ldy = op->operand[1 + 3 * c.matrix].nb[0] / 4,
			.w = at(w, 2 + 3 * c.matrix, 0, 0, 0),
			.row_bytes = weight->nb[0],
			.n_rows = c.m[c.matrix].n_rows,
			.row0 = c.row0,
			.row1 = c.row1,
			.bias = optional_f32(w, 3 + 3 * c.matrix),
			.act = &acts[linnet_type_info(weight->type)->act],
			.scratch = w->own,
		};
		k->matmul[weight->type](&mm);
		piece = w->x->team->n + linnet_team_claim(w->x->team);
	}
}

/* --------------------------------------------------------- mixtures of experts */

/*
 * The rows of each expert, gathered: expert e owns entries [first[e], first[e + 1])
 * of `row`, each j + t * J. act_at[e] is where its activations begin.
 */
struct experts {
	uint32_t *first;		/* [E + 1] */
	uint32_t *row;			/* [J * T] */
	uint32_t *id;			/* [J * T]: the ids, as they were checked */
	uint64_t *act_at;		/* [E + 1] */
	uint32_t *place;		/* [E] */
	uint64_t *first_piece;		/* [E + 1] */
	char *act;
};

/* Number of experts: of the place table when there is one. */
static uint32_t expert_count(const struct linnet_op *op, const uint32_t *params)
{
	const struct linnet_operand *place = &op->operand[4];

	return linnet_dim(linnet_operand_present(place) ? place->ne[0] : op->operand[2].ne[2],
			  params);
}

/* Set up pointers into base (may be NULL); returns the bytes used before the activations. */
static size_t experts_layout(struct experts *e, char *base, uint32_t n_experts, uint64_t n_rows)
{
	size_t off[6], n = 0;

	off[0] = n, n += align_up((n_experts + 1) * sizeof(uint32_t));
	off[1] = n, n += align_up(n_rows * sizeof(uint32_t));
	off[2] = n, n += align_up(n_rows * sizeof(uint32_t));
	off[3] = n, n += align_up((n_experts + 1) * sizeof(uint64_t));
	off[4] = n, n += align_up(n_experts * sizeof(uint32_t));
	off[5] = n, n += align_up((n_experts + 1) * sizeof(uint64_t));
	if (base) {
		e->first = (uint32_t *)(base + off[0]);
		e->row = (uint32_t *)(base + off[1]);
		e->id = (uint32_t *)(base + off[2]);
		e->act_at = (uint64_t *)(base + off[3]);
		e->place = (uint32_t *)(base + off[4]);
		e->first_piece = (uint64_t *)(base + off[5]);
		e->act = base + n;
	}
	return n;
}

/* Rows of a piece of an expert, at the most: its products go to the thread's scratch first. */
#define EXPERT_PIECE 128

static void need_matmul_experts(const struct linnet_op *op, const uint32_t *params,
				const struct linnet_kernels *k, struct need *need)
{
	const struct linnet_operand *weight = &op->operand[2];
	const uint32_t cols = linnet_dim(weight->ne[0], params);
	const uint64_t tokens = linnet_dim(op->operand[0].ne[2], params);
	const uint64_t rows = tokens * linnet_dim(op->operand[0].ne[1], params);
	const uint32_t n = expert_count(op, params);
	const uint64_t granule = k->act_granule, busy = rows < n ? rows : n;
	const enum linnet_act act = linnet_type_info(weight->type)->act;
	struct experts e = { 0 };

	/* every busy expert fills its last granule in part */
	need->shared = sat_add(experts_layout(&e, NULL, n, rows),
			       sat_mul(rows / granule + busy,
				       align_up(k->act_bytes(act, cols, granule))));
	/* a token chooses an expert once */
	need->thread = align_up(k->matmul_scratch(weight->type, cols, tokens)) +
		       align_up(tokens * EXPERT_PIECE * sizeof(float));
}

/* Sort rows by expert; thread 0 alone. Returns 0 or -ERANGE. */
static int experts_sort(struct work *w, struct experts *e, uint32_t n_experts)
{
	const struct linnet_operand *weight = &w->op->operand[2];
	const enum linnet_act act = linnet_type_info(weight->type)->act;
	const uint32_t used = dim(w, 0, 1), tokens = dim(w, 0, 2), cols = dim(w, 2, 0);
	const uint32_t places = dim(w, 2, 2), n_rows = dim(w, 2, 1);
	const int32_t *place = linnet_operand_present(&w->op->operand[4]) ? row_i32(w, 4, 0) : NULL;
	uint32_t *named = e->place;	/* 1 + the last token that named the expert */
	uint32_t sum = 0, row = 0;

	memset(e->first, 0, (n_experts + 1) * sizeof(*e->first));
	memset(named, 0, n_experts * sizeof(*named));
	for (uint32_t t = 0; t < tokens; t++) {
		const int32_t *ids = row_i32(w, 3, t);

		for (uint32_t j = 0; j < used; j++) {
			int32_t id = read_once(&ids[j]);

			/* a token that names an expert twice would overrun its scratch */
			if (id < 0 || (uint32_t)id >= n_experts || named[id] == t + 1)
				return -ERANGE;
			named[id] = t + 1;
			e->first[id]++;
			e->id[row++] = id;
		}
	}
	e->act_at[0] = e->first_piece[0] = 0;
	for (uint32_t i = 0; i < n_experts; i++) {
		uint32_t n = e->first[i];
		int64_t at_place = place ? read_once(&place[i]) : (int64_t)i;

		e->act_at[i + 1] = e->act_at[i];
		e->first_piece[i + 1] = e->first_piece[i];
		if (n) {
			if ((at_place < 0 && at_place != LINNET_PLACE_NONE) || at_place >= places)
				return -ERANGE;
			e->place[i] = at_place;
		}
		if (n && at_place != LINNET_PLACE_NONE) {
			const uint32_t piece = linnet_piece_rows(w->x->k, cols, n, EXPERT_PIECE);

			e->act_at[i + 1] += align_up(w->x->k->act_bytes(act, cols, n));
			e->first_piece[i + 1] += (n_rows + piece - 1) / piece;
		}
		e->first[i] = sum;
		sum += n;
	}
	for (uint32_t i = 0; i < row; i++)
		e->row[e->first[e->id[i]]++] = i;
	/* the filling above moved every start to its end */
	memmove(e->first + 1, e->first, n_experts * sizeof(*e->first));
	e->first[0] = 0;
	/* thread 0's own scratch follows what is shared */
	if (e->act_at[n_experts] > (size_t)(w->own - e->act))
		return -ENOSPC;
	return 0;
}

static void run_matmul_experts(struct work *w)
{
	const struct linnet_kernels *k = w->x->k;
	const struct linnet_op *op = w->op;
	const struct linnet_operand *weight = &op->operand[2];
	const enum linnet_act act = linnet_type_info(weight->type)->act;
	const uint32_t used = dim(w, 0, 1), tokens = dim(w, 0, 2), cols = dim(w, 2, 0);
	const uint32_t n_rows = dim(w, 2, 1), n_experts = expert_count(op, w->x->params);
	const bool one_src = dim(w, 1, 1) == 1;
	struct experts e = { 0 };
	uint32_t busy = 0;

	experts_layout(&e, w->shared, n_experts, (uint64_t)used * tokens);
	if (!w->thread) {
		int ret = experts_sort(w, &e, n_experts);

		if (ret)
			fail(w, ret);
	}
	if (!next_phase(w))
		return;

	for_each_claim(w, i, n_experts) {
		const uint32_t n = e.first[i + 1] - e.first[i];
		const struct linnet_act_buf buf = { e.act + e.act_at[i], cols, n };

		if (e.act_at[i] == e.act_at[i + 1])
			continue;
		for (uint32_t r = 0; r < n; r++) {
			uint32_t row = e.row[e.first[i] + r];

			k->act_pack(act, &buf, row_f32(w, 1, one_src ? 0 : row % used, row / used),
				    0, r, r + 1);
		}
	}
	if (!next_phase(w))
		return;

	for_each_claim(w, piece, e.first_piece[n_experts]) {
		float *tmp = (float *)(w->own +
				       align_up(k->matmul_scratch(weight->type, cols, tokens)));
		struct linnet_act_buf buf;
		struct linnet_matmul mm;
		uint32_t row0, rows, n;

		while (piece >= e.first_piece[busy + 1])
			busy++;
		n = e.first[busy + 1] - e.first[busy];
		rows = linnet_piece_rows(k, cols, n, EXPERT_PIECE);
		row0 = (piece - e.first_piece[busy]) * rows;
		buf = (struct linnet_act_buf){ e.act + e.act_at[busy], cols, n };
		mm = (struct linnet_matmul){
			.y = tmp,
			.ldy = EXPERT_PIECE,
			.w = at(w, 2, row0, e.place[busy], 0),
			.row_bytes = weight->nb[0],
			.n_rows = n_rows - row0,
			.row1 = n_rows - row0 < rows ? n_rows - row0 : rows,
			.act = &buf,
			.scratch = w->own,
		};
		k->matmul[weight->type](&mm);
		for (uint32_t r = 0; r < n; r++) {
			uint32_t row = e.row[e.first[busy] + r];

			memcpy(row_f32(w, 0, row % used, row / used) + row0,
			       tmp + (size_t)r * EXPERT_PIECE, mm.row1 * sizeof(float));
		}
	}
}

static void run_route(struct work *w)
{
	const uint32_t used = dim(w, 0, 0), tokens = dim(w, 0, 1), n = dim(w, 2, 0);
	const bool norm = w->op->attr[0];
	const float scale = linnet_attr_f32(w->op, 1);

	for_each_claim(w, t, tokens) {
		int32_t *ids = (int32_t *)at(w, 0, t, 0, 0);
		float *weights = row_f32(w, 1, t, 0);
		const float *logits = row_f32(w, 2, t, 0);
		float max = -INFINITY, sum = 0, chosen = 0;

		for (uint32_t i = 0; i < n; i++)
			max = logits[i] > max ? logits[i] : max;
		for (uint32_t i = 0; i < n; i++)
			sum += linnet_expf(logits[i] - max);
		for (uint32_t j = 0; j < used; j++) {
			int64_t best = -1;

			/* the largest after the one chosen before, by value, then by number */
			for (uint32_t i = 0; i < n; i++) {
				bool taken = false;

				for (uint32_t l = 0; l < j; l++)
					taken |= ids[l] == (int32_t)i;
				if (!taken && (best < 0 || logits[i] > logits[best]))
					best = i;
			}
			ids[j] = best;
			weights[j] = linnet_expf(logits[best] - max) / sum;
			chosen += weights[j];
		}
		for (uint32_t j = 0; j < used; j++)
			weights[j] = (norm ? weights[j] / chosen : weights[j]) * scale;
	}
}

static void run_combine(struct work *w)
{
	const uint32_t n = dim(w, 0, 0), tokens = dim(w, 0, 1), used = dim(w, 1, 1);

	for_each_claim(w, t, tokens) {
		float *dst = row_f32(w, 0, t, 0);
		const float *weights = row_f32(w, 2, t, 0);

		memset(dst, 0, n * sizeof(*dst));
		for (uint32_t j = 0; j < used; j++)
			w->x->k->axpy(dst, weights[j], row_f32(w, 1, j, t), n);
	}
}

/* ------------------------------------------------------------------- attention */

/* A token's position and its sequence's row of the page table. */
struct place {
	uint32_t pos;
	const int32_t *pages;
};

/*
 * Read the place of token t from operands pos, pos + 1 (its sequence) and pos + 2 (the
 * page table [M, S]). False: out of range.
 */
static bool token_place(const struct work *w, unsigned pos, uint32_t t, struct place *place)
{
	int32_t p = read_once(&row_i32(w, pos, 0)[t]), s = read_once(&row_i32(w, pos + 1, 0)[t]);

	if (s < 0 || (uint32_t)s >= dim(w, pos + 2, 1) || p < 0 ||
	    (uint32_t)p / LINNET_KV_PAGE >= dim(w, pos + 2, 0))
		return false;
	*place = (struct place){ p, row_i32(w, pos + 2, s) };
	return true;
}

static void run_kv_write(struct work *w)
{
	const uint32_t n = dim(w, 1, 0), heads = dim(w, 1, 1), tokens = dim(w, 1, 2);
	const uint32_t n_pages = dim(w, 0, 3);

	/* a head is one thread's: positions of one tile share cache lines */
	for_each_claim(w, h, heads) {
		for (uint32_t t = 0; t < tokens; t++) {
			struct place place;
			int32_t page = -1;

			if (token_place(w, 2, t, &place))
				page = read_once(&place.pages[place.pos / LINNET_KV_PAGE]);
			if (page < 0 || (uint32_t)page >= n_pages) {
				fail(w, -ERANGE);
				return;
			}
			w->x->k->kv_put[w->op->attr[0]](w->op->operand[0].type,
							at(w, 0, 0, h, page), row_f32(w, 1, h, t),
							n, place.pos % LINNET_KV_PAGE);
		}
	}
}

struct attention {
	uint32_t tokens, heads, kv_heads, group, dk, dv, n_pages, window;
	uint32_t tile;			/* tokens that are handled together */
	struct linnet_attn_query query;	/* template */
	/* the thread's scratch */
	const float **src;
	uint32_t *pos;			/* of the tile's tokens */
	uint16_t *lo, *hi;
	struct linnet_attn_state *acc, *part;
	float *acc_out, *part_out;
	void *page_scratch;
};

static uint32_t tile_tokens(uint32_t group)
{
	return group >= TILE_QUERIES ? 1 : TILE_QUERIES / group;
}

/* Lay out the thread's scratch at base (may be NULL) for n queries; returns its size. */
static size_t attention_layout(struct attention *a, char *base, const struct linnet_kernels *k,
			       uint32_t n)
{
	const struct linnet_attention_ops *ops = &k->attn;
	size_t size[10] = {
		ops->query_bytes(a->query.type, n, a->dk),
		n * sizeof(*a->src),
		n * sizeof(*a->pos),
		n * sizeof(*a->lo),
		n * sizeof(*a->hi),
		n * sizeof(*a->acc),
		n * sizeof(*a->part),
		(size_t)n * a->dv * sizeof(float),
		(size_t)n * a->dv * sizeof(float),
		ops->page_scratch(a->query.type, n, a->dk, a->dv),
	};
	char *p[10];
	size_t total = 0;

	for (int i = 0; i < 10; i++) {
		p[i] = base ? base + total : NULL;
		total += align_up(size[i]);
	}
	if (base) {
		a->query.buf = p[0];
		a->src = (const float **)p[1];
		a->pos = (uint32_t *)p[2];
		a->lo = (uint16_t *)p[3];
		a->hi = (uint16_t *)p[4];
		a->acc = (struct linnet_attn_state *)p[5];
		a->part = (struct linnet_attn_state *)p[6];
		a->acc_out = (float *)p[7];
		a->part_out = (float *)p[8];
		a->page_scratch = p[9];
	}
	return total;
}

/* Bytes of one unit's partial results of one page, when pages are shared out. */
static size_t partial_bytes(const struct attention *a)
{
	return align_up(a->group * (sizeof(struct linnet_attn_state) + a->dv * sizeof(float)));
}

static void attention_shape(struct attention *a, const struct linnet_op *op, const uint32_t *params)
{
	const struct linnet_operand *dst = &op->operand[0], *q = &op->operand[1];
	const struct linnet_operand *k = &op->operand[2];

	*a = (struct attention){
		.tokens = linnet_dim(q->ne[2], params),
		.heads = q->ne[1],
		.kv_heads = k->ne[2],
		.group = q->ne[1] / k->ne[2],
		.dk = k->ne[0],
		.dv = dst->ne[0],
		.n_pages = linnet_dim(k->ne[3], params),
		.window = op->attr[2],
	};
	a->query.type = k->type;
	a->query.dk = a->dk;
	a->query.dv = a->dv;
	a->query.scale = linnet_attr_f32(op, 0);
	a->query.softcap = linnet_attr_f32(op, 1);
}

/* Few units of work: pages are shared out between threads too. */
static bool share_pages(const struct attention *a, unsigned n_threads)
{
	return (uint64_t)a->tokens * a->kv_heads < 2 * n_threads;
}

static void need_attention(const struct linnet_op *op, const uint32_t *params,
			   const struct linnet_kernels *k, unsigned n_threads, struct need *need)
{
	const uint32_t max_pages = linnet_dim(op->operand[6].ne[0], params);
	struct attention a;

	attention_shape(&a, op, params);
	need->thread = attention_layout(&a, NULL, k, a.group * tile_tokens(a.group));
	need->shared = sat_mul((uint64_t)2 * n_threads * max_pages, partial_bytes(&a));
}

/* First position that a token at pos sees. */
static uint32_t first_seen(const struct attention *a, uint32_t pos)
{
	return a->window && pos >= a->window ? pos - a->window + 1 : 0;
}

/* Pack the queries of tokens [t0, t0 + n), KV head g. */
static void attention_queries(struct work *w, struct attention *a, uint32_t t0, uint32_t n,
			      uint32_t g)
{
	for (uint32_t i = 0; i < n * a->group; i++)
		a->src[i] = row_f32(w, 1, g * a->group + i % a->group, t0 + i / a->group);
	a->query.n = n * a->group;
	w->x->k->attn.prep(&a->query, a->src);
}

/* Keys of KV head g in a page, to be prefetched; NULL: there are none. */
static const void *keys_of(const struct work *w, const struct attention *a, uint32_t g,
			   const int32_t *pages, uint32_t page)
{
	const int32_t number = g < a->kv_heads ? read_once(&pages[page]) : -1;

	return number < 0 || (uint32_t)number >= a->n_pages ? NULL : at(w, 2, 0, g, number);
}

/* One page for the packed queries, into state and out. next_k: keys that will be read next,
 * or NULL. False: the page is out of range. */
static bool attention_page(struct work *w, struct attention *a, uint32_t g, const int32_t *pages,
			   uint32_t page, const void *next_k, struct linnet_attn_state *state,
			   float *out)
{
	const uint32_t first = page * LINNET_KV_PAGE;
	const int32_t number = read_once(&pages[page]);
	struct linnet_attn_page p = { .next_k = next_k, .lo = a->lo, .hi = a->hi,
				      .state = state, .out = out, .ld_out = a->dv,
				      .scratch = a->page_scratch };

	if (number < 0 || (uint32_t)number >= a->n_pages)
		return false;
	for (uint32_t i = 0; i < a->query.n; i++) {
		uint32_t pos = a->pos[i / a->group];
		uint32_t lo = first_seen(a, pos), hi = pos + 1;

		lo = lo < first ? 0 : lo - first;
		hi = hi < first ? 0 : hi - first;
		a->hi[i] = hi < LINNET_KV_PAGE ? hi : LINNET_KV_PAGE;
		a->lo[i] = lo < a->hi[i] ? lo : a->hi[i];
	}
	p.k = at(w, 2, 0, g, number);
	p.v = at(w, 3, 0, g, number);
	w->x->k->attn.page(&a->query, &p);
	return true;
}

static void attention_start(const struct attention *a, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		a->acc[i] = (struct linnet_attn_state){ -INFINITY, 0 };
	memset(a->acc_out, 0, (size_t)n * a->dv * sizeof(float));
}

static void attention_finish(struct work *w, const struct attention *a, uint32_t t0, uint32_t g)
{
	for (uint32_t i = 0; i < a->query.n; i++)
		w->x->k->attn.finish(row_f32(w, 0, g * a->group + i % a->group, t0 + i / a->group),
				     &a->acc[i], a->acc_out + (size_t)i * a->dv, a->dv);
}

/* Tokens [t0, t0 + n), of one sequence and in a->pos, KV head g, all their pages in order. */
static void attention_tile(struct work *w, struct attention *a, uint32_t t0, uint32_t n,
			   uint32_t g, const int32_t *pages)
{
	const struct linnet_attention_ops *ops = &w->x->k->attn;
	uint32_t first = UINT32_MAX, last = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t seen = first_seen(a, a->pos[i]) / LINNET_KV_PAGE;
		uint32_t own = a->pos[i] / LINNET_KV_PAGE;

		first = seen < first ? seen : first;
		last = own > last ? own : last;
	}
	attention_queries(w, a, t0, n, g);
	attention_start(a, a->query.n);
	for (uint32_t page = first; page <= last; page++) {
		/* after the last, the head that is this thread's when all are as fast */
		const void *next_k = page < last ? keys_of(w, a, g, pages, page + 1) :
				     keys_of(w, a, g + w->x->team->n, pages, first);

		/* many queries over many pages are more than a piece of work */
		if (n > LINNET_FEW_TOKENS && !goes_on(w))
			return;
		if (!attention_page(w, a, g, pages, page, next_k, a->part, a->part_out)) {
			fail(w, -ERANGE);
			return;
		}
		for (uint32_t i = 0; i < a->query.n; i++)
			ops->combine(&a->acc[i], a->acc_out + (size_t)i * a->dv, &a->part[i],
				     a->part_out + (size_t)i * a->dv, a->dv);
	}
	attention_finish(w, a, t0, g);
}

/* Every (token, KV head, page) is a piece; then every (token, KV head) is combined. */
static void attention_by_page(struct work *w, struct attention *a)
{
	const uint32_t max_pages = dim(w, 6, 0), units = a->tokens * a->kv_heads;
	const size_t bytes = partial_bytes(a), states = a->group * sizeof(struct linnet_attn_state);
	const struct linnet_attention_ops *ops = &w->x->k->attn;

	for_each_claim(w, i, (uint64_t)units * max_pages) {
		/* pages of one unit go to different threads */
		const uint32_t unit = i / max_pages, page = i % max_pages;
		const uint32_t t = unit / a->kv_heads, g = unit % a->kv_heads;
		char *part = w->shared + ((size_t)unit * max_pages + page) * bytes;
		struct place place;

		if (!token_place(w, 4, t, &place)) {
			fail(w, -ERANGE);
			break;
		}
		if (page > place.pos / LINNET_KV_PAGE ||
		    page < first_seen(a, place.pos) / LINNET_KV_PAGE)
			continue;
		a->pos[0] = place.pos;
		attention_queries(w, a, t, 1, g);
		if (!attention_page(w, a, g, place.pages, page, NULL, (void *)part,
				    (float *)(part + states))) {
			fail(w, -ERANGE);
			break;
		}
	}
	if (!next_phase(w))
		return;

	for_each_claim(w, unit, units) {
		const uint32_t t = unit / a->kv_heads, g = unit % a->kv_heads;
		struct place place;

		/* dst may share memory with the positions: what held above may not any more */
		if (!token_place(w, 4, t, &place)) {
			fail(w, -ERANGE);
			break;
		}
		attention_start(a, a->group);
		for (uint32_t page = first_seen(a, place.pos) / LINNET_KV_PAGE;
		     page <= place.pos / LINNET_KV_PAGE; page++) {
			const char *part = w->shared + ((size_t)unit * max_pages + page) * bytes;
			const float *out = (const float *)(part + states);

			for (uint32_t i = 0; i < a->group; i++)
				ops->combine(&a->acc[i], a->acc_out + (size_t)i * a->dv,
					     (const struct linnet_attn_state *)part + i,
					     out + (size_t)i * a->dv, a->dv);
		}
		a->query.n = a->group;
		attention_finish(w, a, t, g);
	}
}

static void run_attention(struct work *w)
{
	const unsigned threads = w->x->team->n;
	struct attention a;
	uint32_t tiles;

	attention_shape(&a, w->op, w->x->params);
	attention_layout(&a, w->own, w->x->k, a.group * tile_tokens(a.group));
	if (share_pages(&a, threads)) {
		attention_by_page(w, &a);
		return;
	}
	/* as large as the kernel takes, but enough of them for all threads */
	a.tile = a.tokens * (uint64_t)a.kv_heads / (4 * threads);
	if (a.tile > tile_tokens(a.group))
		a.tile = tile_tokens(a.group);
	if (!a.tile)
		a.tile = 1;
	tiles = (a.tokens + a.tile - 1) / a.tile;
	/* late tokens see the most: start with them, so that the last pieces are short */
	for_each_claim(w, i, (uint64_t)tiles * a.kv_heads) {
		uint32_t t = (tiles - 1 - i / a.kv_heads) * a.tile, g = i % a.kv_heads;
		uint32_t end = t + a.tile < a.tokens ? t + a.tile : a.tokens;

		while (t < end) {
			struct place first = { 0 }, place;
			uint32_t n = 0;

			while (t + n < end) {
				if (!token_place(w, 4, t + n, &place)) {
					fail(w, -ERANGE);
					return;
				}
				if (!n)
					first = place;
				else if (place.pages != first.pages)
					break;
				a.pos[n++] = place.pos;
			}
			attention_tile(w, &a, t, n, g, first.pages);
			t += n;
		}
	}
}

/* --------------------------------------------------------------------- streams */

static void (*const run[LINNET_OP_COUNT])(struct work *w) = {
	[LINNET_OP_GET_ROWS] = run_get_rows,
	[LINNET_OP_RMS_NORM] = run_rms_norm,
	[LINNET_OP_MATMUL] = run_matmul,
	[LINNET_OP_MATMUL_EXPERTS] = run_matmul_experts,
	[LINNET_OP_ROPE_TABLE] = run_rope_table,
	[LINNET_OP_ROPE] = run_rope,
	[LINNET_OP_KV_WRITE] = run_kv_write,
	[LINNET_OP_ATTENTION] = run_attention,
	[LINNET_OP_GLU] = run_glu,
	[LINNET_OP_ADD] = run_add,
	[LINNET_OP_SOFTCAP] = run_softcap,
	[LINNET_OP_ROUTE] = run_route,
	[LINNET_OP_COMBINE] = run_combine,
};

static struct need op_need(const struct linnet_op *op, const uint32_t *params,
			   const struct linnet_kernels *k, unsigned n_threads)
{
	struct need need = { 0, 0 };

	if (op->code == LINNET_OP_MATMUL)
		need_matmul(op, params, k, &need);
	else if (op->code == LINNET_OP_MATMUL_EXPERTS)
		need_matmul_experts(op, params, k, &need);
	else if (op->code == LINNET_OP_ATTENTION)
		need_attention(op, params, k, n_threads, &need);
	return need;
}

size_t linnet_exec_scratch(const struct linnet_stream *s, const struct linnet_kernels *k,
			   unsigned n_threads)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < s->n_ops; i++) {
		struct need need = op_need(&s->op[i], s->param_max, k, n_threads);
		uint64_t n = need_total(&need, n_threads);

		most = n > most ? n : most;
	}
	return most > SIZE_MAX ? SIZE_MAX : most;
}

/* Product of an operand's dimensions. */
static uint64_t elems(const struct linnet_operand *o, const uint32_t *params)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < LINNET_MAX_DIMS; i++)
		n *= linnet_dim(o->ne[i], params);
	return n;
}

uint64_t linnet_exec_work(const struct linnet_stream *s, const uint32_t *params)
{
	uint64_t work = 0;

	for (uint32_t i = 0; i < s->n_ops; i++) {
		const struct linnet_op *op = &s->op[i];

		if (op->code == LINNET_OP_MATMUL)
			for (uint32_t j = 1; j < op->n_operands; j += 3)
				work += elems(&op->operand[j], params) *
					linnet_dim(op->operand[0].ne[0], params);
		else if (op->code == LINNET_OP_MATMUL_EXPERTS)
			work += elems(&op->operand[0], params) *
				linnet_dim(op->operand[1].ne[0], params);
		else if (op->code == LINNET_OP_ATTENTION)
			work += elems(&op->operand[1], params) * LINNET_KV_PAGE;
	}
	return work;
}

int linnet_exec_begin(struct linnet_exec *x)
{
	for (uint32_t i = 0; i < x->s->n_params; i++)
		if (x->params[i] > x->s->param_max[i])
			return -EINVAL;
	atomic_init(&x->failure, 0);
	atomic_init(&x->begun, 0);
	atomic_init(&x->begun_sleepers, 0);
	return 0;
}

int linnet_exec_result(struct linnet_exec *x, uint32_t *op)
{
	uint64_t failure = atomic_load(&x->failure);

	if (!failure)
		return 0;
	*op = ((failure >> 32) - 1) / PHASES;
	return -(int)(uint32_t)failure;
}

/* -------------------------------------------------------- operations of one thread */

/* Operations [from, to), and the packing of the product `to`, that one thread does. */
struct section {
	uint32_t from, to;
	bool pack;
};

/* One piece of work, and a short one: sharing it would take longer. */
static bool is_short(const struct linnet_op *op, const uint32_t *params)
{
	const struct linnet_operand *dst = &op->operand[0];
	uint32_t tokens = linnet_dim(dst->ne[1], params);

	switch (op->code) {
	case LINNET_OP_RMS_NORM:
	case LINNET_OP_ROPE:
		if (dst->n_dims == 3)
			tokens = linnet_dim(dst->ne[2], params);
		return tokens == 1;
	case LINNET_OP_KV_WRITE:
		return linnet_dim(op->operand[1].ne[2], params) == 1;
	case LINNET_OP_GET_ROWS:
	case LINNET_OP_ROPE_TABLE:
	case LINNET_OP_ADD:
	case LINNET_OP_SOFTCAP:
	case LINNET_OP_ROUTE:
	case LINNET_OP_COMBINE:
		return tokens == 1;
	default:
		return false;
	}
}

static bool has_room(const struct linnet_exec *x, const struct linnet_op *op, struct need *need)
{
	*need = op_need(op, x->params, x->k, x->team->n);
	return need_total(need, x->team->n) <= x->scratch_bytes;
}

static struct section section(const struct linnet_exec *x, uint32_t from)
{
	struct section sec = { from, from, false };
	const struct linnet_op *op;
	struct need need;

	while (sec.to < x->s->n_ops && is_short(&x->s->op[sec.to], x->params))
		sec.to++;
	if (sec.to < x->s->n_ops) {
		op = &x->s->op[sec.to];
		sec.pack = op->code == LINNET_OP_MATMUL && has_room(x, op, &need) &&
			   linnet_dim(op->operand[0].ne[1], x->params) == 1;
	}
	return sec;
}

static void run_section(struct linnet_exec *x, const struct section *sec, unsigned thread)
{
	struct work w = { .x = x, .thread = thread, .alone = true, .shared = x->scratch };

	for (w.op_index = sec->from; w.op_index < sec->to; w.op_index++) {
		w.op = &x->s->op[w.op_index];
		w.next = 0;
		if (interrupted(&w))
			fail(&w, -EINTR);
		if (atomic_load_explicit(&x->failure, memory_order_relaxed))
			return;
		run[w.op->code](&w);
	}
	if (sec->pack) {
		struct linnet_act_buf acts[LINNET_ACT_COUNT];
		unsigned used[LINNET_ACT_COUNT];

		w.op = &x->s->op[sec->to];
		w.next = 0;
		matmul_pack(&w, acts, used, matmul_acts(&w, acts, used));
	}
}

/* False: it failed up to the end of the section. */
static bool section_passed(struct linnet_exec *x, const struct section *sec)
{
	const uint64_t failure = atomic_load(&x->failure);

	return !failure || failure >> 32 > (uint64_t)sec->to * PHASES + sec->pack;
}

/* What the thread will read first of the next product, when that is read once: of few tokens. */
static void look_ahead(const struct linnet_exec *x, unsigned thread, uint32_t op,
		       struct linnet_ahead *ahead, uint32_t *ahead_op)
{
	const struct linnet_operand *weight;
	struct linnet_cut c;
	bool more;

	if (!x->team->ahead_bytes)
		return;
	while (op < x->s->n_ops && x->s->op[op].code != LINNET_OP_MATMUL)
		op++;
	if (op == *ahead_op || op == x->s->n_ops)
		return;
	*ahead_op = op;
	ahead->bytes = 0;
	if (linnet_dim(x->s->op[op].operand[0].ne[1], x->params) > LINNET_FEW_TOKENS)
		return;
	more = linnet_cut_begin(&c, &x->s->op[op], x->params, x->k, x->team->n);
	while (more && c.piece < thread)
		more = linnet_cut_next(&c);
	if (!more)
		return;
	weight = &x->s->op[op].operand[2 + 3 * c.matrix];
	ahead->p = x->base[weight->slot] + weight->offset + c.row0 * weight->nb[0];
	ahead->bytes = (c.row1 - c.row0) * weight->nb[0];
	if (ahead->bytes > x->team->ahead_bytes)
		ahead->bytes = x->team->ahead_bytes;
}

void linnet_exec_run(struct linnet_exec *x, unsigned thread)
{
	struct linnet_ahead ahead = { 0 };
	uint32_t ahead_op = UINT32_MAX, generation;
	struct section sec = section(x, 0);

	look_ahead(x, thread, sec.to, &ahead, &ahead_op);
	/* nobody has to have come for this */
	if (!thread) {
		run_section(x, &sec, thread);
		atomic_store(&x->begun, 1);
		linnet_team_wake(&x->begun, &x->begun_sleepers);
	} else {
		linnet_team_wait(&x->begun, 0, &x->begun_sleepers, &ahead);
	}
	while (section_passed(x, &sec) && sec.to < x->s->n_ops) {
		struct work w = { .x = x, .op = &x->s->op[sec.to], .op_index = sec.to,
				  .phase = sec.pack, .thread = thread, .packed = sec.pack };
		struct need need;

		if (!thread && interrupted(&w))
			fail(&w, -EINTR);
		/* every thread comes to the same verdict */
		if (has_room(x, w.op, &need)) {
			w.shared = x->scratch;
			w.own = x->scratch + need.shared + thread * need.thread;
			run[w.op->code](&w);
		} else {
			fail(&w, -ENOSPC);
		}
		sec = section(x, sec.to + 1);
		look_ahead(x, thread, sec.to, &ahead, &ahead_op);
		if (linnet_team_arrive(x->team, &generation)) {
			run_section(x, &sec, thread);
			linnet_team_release(x->team);
		} else {
			linnet_team_await(x->team, generation, &ahead);
		}
	}
}
