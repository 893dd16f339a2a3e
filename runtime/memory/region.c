// SPDX-License-Identifier: MIT
/* Regions of the host: anonymous mappings, keeps region.h. */
#include "region.h"

#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <limits.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

static uint64_t read_pool(const char *root, const char *name)
{
	char path[PATH_MAX];
	unsigned long long v = 0;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages/hugepages-%zukB/%s", root,
		     HUGE_PAGE / 1024, name) >= (int)sizeof(path))
		return 0;
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

uint64_t linnet_region_pool_free(const char *root)
{
	const uint64_t free = read_pool(root, "free_hugepages");
	const uint64_t reserved = read_pool(root, "resv_hugepages");

	return free > reserved ? (free - reserved) * HUGE_PAGE : 0;
}

/* Up to here the region has huge pages: those that it uses as a whole. */
static size_t huge_end(const struct linnet_region *r)
{
	return r->bytes & ~(HUGE_PAGE - 1);
}

/*
 * Put pages of the pool at the region's beginning. They are reserved by being mapped, so
 * there is one for each that is touched. False: nothing is mapped there any more.
 */
static bool take_from_pool(struct linnet_region *r)
{
	const uint64_t free = linnet_region_pool_free("");
	const size_t bytes = free < huge_end(r) ? free : huge_end(r);

	if (!bytes)
		return true;
	if (mmap(r->addr, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0) !=
	    MAP_FAILED) {
		r->pool_bytes = bytes;
		return true;
	}
	/* somebody was faster, or may not: what was mapped there may be gone */
	return mmap(r->addr, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

int linnet_region_host_create(struct linnet_region **out, size_t bytes, enum linnet_pages pages,
			      struct linnet_error *err)
{
	size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
	struct linnet_region *r;
	uint64_t mapped, head;
	char *p;

	if (linnet_align_overflow(bytes ? bytes : 1, PAGE, &mapped) || mapped > SIZE_MAX - align)
		return linnet_err(err, -EOVERFLOW, "region of %zu bytes is too large", bytes);
	r = calloc(1, sizeof(*r));
	if (!r)
		return linnet_err(err, -ENOMEM, "out of memory");
	/* map more than is wanted and give back what is not aligned */
	p = mmap(NULL, mapped + align, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		int e = errno;

		free(r);
		return linnet_err(err, -e, "cannot map %zu bytes of memory: %s", bytes,
				  strerror(e));
	}
	head = -(uintptr_t)p & (align - 1);
	if (head)
		munmap(p, head);
	if (align - head)
		munmap(p + head + mapped, align - head);
	r->addr = p + head;
	r->bytes = bytes;
	r->mapped_bytes = mapped;
	if (pages == LINNET_PAGES_POOL && align == HUGE_PAGE && !take_from_pool(r)) {
		int e = errno;

		linnet_region_host_destroy(r);
		return linnet_err(err, -e, "cannot map %zu bytes of memory: %s", bytes,
				  strerror(e));
	}
	if (pages != LINNET_PAGES_SMALL && align == HUGE_PAGE)
		r->huge = r->pool_bytes == huge_end(r) ||
			  !madvise(r->addr + r->pool_bytes, huge_end(r) - r->pool_bytes,
				   MADV_HUGEPAGE);
	*out = r;
	return 0;
}

bool linnet_region_reservable(uint64_t bytes)
{
	struct rlimit as, data;
	void *p;

	if (!bytes || bytes > SIZE_MAX / 2 ||
	    getrlimit(RLIMIT_AS, &as) || as.rlim_cur != RLIM_INFINITY ||
	    getrlimit(RLIMIT_DATA, &data) || data.rlim_cur != RLIM_INFINITY)
		return false;
	/* the system's policy of overcommitment may have its word, too */
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return false;
	munmap(p, bytes);
	return true;
}

void linnet_region_host_destroy(struct linnet_region *r)
{
	if (!r)
		return;
	munmap(r->addr, r->mapped_bytes);
	free(r);
}

/* The huge page at `at` is to be one, or is to be small pages. */
static void advise(struct linnet_region *r, size_t at, int advice)
{
	const size_t page = at & ~(HUGE_PAGE - 1);

	if (at % HUGE_PAGE && page >= r->pool_bytes && page < huge_end(r))
		madvise(r->addr + page, HUGE_PAGE, advice);
}

void linnet_region_host_border(struct linnet_region *r, size_t at)
{
	if (!r->huge || at == r->border)
		return;
	advise(r, r->border, MADV_HUGEPAGE);
	advise(r, at, MADV_NOHUGEPAGE);
	r->border = at;
}

/* The first page's beginning at or behind `at`. A huge page that stays in part would stay as a
 * whole. */
static size_t next_page(const struct linnet_region *r, size_t at)
{
	const bool small = (r->border % HUGE_PAGE && at / HUGE_PAGE == r->border / HUGE_PAGE &&
			    at >= r->pool_bytes) || at >= huge_end(r);
	const size_t page = (r->huge || r->pool_bytes) && !small ? HUGE_PAGE : PAGE;

	return (at + page - 1) & ~(page - 1);
}

void linnet_region_host_discard(struct linnet_region *r, size_t offset, size_t bytes)
{
	size_t from = next_page(r, offset), to = offset + bytes;

	/* nothing lies behind the region's end */
	to = to >= r->bytes ? r->mapped_bytes : to & ~((r->huge ? HUGE_PAGE : PAGE) - 1);
	/* The pool's part by itself, as kernels before 5.18 refuse it. */
	if (from < r->pool_bytes && from < to) {
		const size_t end = to < r->pool_bytes ? to : r->pool_bytes;

		madvise(r->addr + from, end - from, MADV_DONTNEED);
		from = end;
	}
	if (from < to)
		madvise(r->addr + from, to - from, MADV_DONTNEED);
}
