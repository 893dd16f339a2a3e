// SPDX-License-Identifier: MIT
/* Regions of the host: anonymous mappings, keeps region.h. */
#include "region.h"

#include "runtime/util/error.h"
#include "runtime/util/overflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)

int linnet_region_host_create(struct linnet_region **out, size_t bytes, bool huge,
			      struct linnet_error *err)
{
	size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
	struct linnet_region *r;
	uint64_t mapped, head;
	char *p;

	if (linnet_align_overflow(bytes ? bytes : 1, align, &mapped) || mapped > SIZE_MAX - align)
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
		return linnet_err(err, -e, "cannot map %zu bytes of memory: %s", bytes, strerror(e));
	}
	head = -(uintptr_t)p & (align - 1);
	if (head)
		munmap(p, head);
	if (align - head)
		munmap(p + head + mapped, align - head);
	r->addr = p + head;
	r->bytes = bytes;
	r->mapped_bytes = mapped;
	if (huge && align == HUGE_PAGE)
		r->huge = !madvise(r->addr, mapped, MADV_HUGEPAGE);
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

void linnet_region_host_discard(struct linnet_region *r, size_t offset, size_t bytes)
{
	/* a huge page that stays in part would stay as a whole */
	const size_t page = r->huge ? HUGE_PAGE : PAGE;
	size_t from = (offset + page - 1) & ~(page - 1), to = offset + bytes;

	/* nothing lies behind the region's end */
	to = to >= r->bytes ? r->mapped_bytes : to & ~(page - 1);
	if (from < to)
		madvise(r->addr + from, to - from, MADV_DONTNEED);
}
