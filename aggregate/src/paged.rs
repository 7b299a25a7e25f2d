//! A map from small numbers (series) to cells that wastes little: four bytes of index per series and cells without gaps.
//!
//! Index pages exist only where a series was touched; cell pages start small and double up to a limit, so that neither a
//! window with three series nor one with a hundred thousand carries much slack. A hash map would cost two to three times
//! as much per series.

const INDEX_PAGE: usize = 256;
const CELL_PAGE_MIN: usize = 16;
/// The first pages hold 16, 32 … 512 cells, all others 1 024.
const GROWING_PAGES: usize = 6;
const CELL_PAGE_MAX: usize = CELL_PAGE_MIN << GROWING_PAGES;
const GROWING_CELLS: usize = CELL_PAGE_MIN * ((1 << GROWING_PAGES) - 1);
const NONE: u32 = u32::MAX;

/// Cells by series number.
#[derive(Clone, Debug)]
pub struct Paged<C> {
    index: Vec<Option<Box<[u32; INDEX_PAGE]>>>,
    pages: Vec<Vec<C>>,
    len: u32,
}

impl<C: Default> Paged<C> {
    /// The cell of `series`, made if there is none yet.
    #[inline]
    pub fn entry(&mut self, series: u32) -> &mut C {
        let (page, at) = (series as usize / INDEX_PAGE, series as usize % INDEX_PAGE);
        if page >= self.index.len() {
            self.index.resize(page + 1, None);
        }
        let slot = &mut self.index[page].get_or_insert_with(|| Box::new([NONE; INDEX_PAGE]))[at];
        if *slot == NONE {
            *slot = self.len;
            let (page, _) = place(self.len);
            if page == self.pages.len() {
                self.pages.push(Vec::with_capacity(page_len(page)));
            }
            self.pages[page].push(C::default());
            self.len += 1;
        }
        let (page, at) = place(*slot);
        &mut self.pages[page][at]
    }

    /// The cell of `series`.
    pub fn get(&self, series: u32) -> Option<&C> {
        let page = self.index.get(series as usize / INDEX_PAGE)?.as_ref()?;
        let slot = page[series as usize % INDEX_PAGE];
        if slot == NONE {
            return None;
        }
        let (page, at) = place(slot);
        Some(&self.pages[page][at])
    }

    /// All cells in rising order of series.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &C)> {
        self.index.iter().enumerate().flat_map(move |(page, slots)| {
            let slots = slots.iter().flat_map(|slots| slots.iter().enumerate());
            slots.filter(|(_, slot)| **slot != NONE).map(move |(at, slot)| {
                let (cell_page, cell_at) = place(*slot);
                ((page * INDEX_PAGE + at) as u32, &self.pages[cell_page][cell_at])
            })
        })
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, without what cells themselves own.
    pub fn heap_bytes(&self) -> usize {
        let index_pages = self.index.iter().flatten().count();
        let cells: usize = self.pages.iter().map(|page| page.capacity() * size_of::<C>()).sum();
        index_pages * size_of::<[u32; INDEX_PAGE]>()
            + self.index.capacity() * size_of::<usize>()
            + self.pages.capacity() * size_of::<Vec<C>>()
            + cells
    }
}

impl<C> Default for Paged<C> {
    fn default() -> Self {
        Paged { index: Vec::new(), pages: Vec::new(), len: 0 }
    }
}

fn page_len(page: usize) -> usize {
    (CELL_PAGE_MIN << page.min(GROWING_PAGES)).min(CELL_PAGE_MAX)
}

#[inline]
fn place(cell: u32) -> (usize, usize) {
    let cell = cell as usize;
    if cell >= GROWING_CELLS {
        let beyond = cell - GROWING_CELLS;
        return (GROWING_PAGES + beyond / CELL_PAGE_MAX, beyond % CELL_PAGE_MAX);
    }
    let page = (cell / CELL_PAGE_MIN + 1).ilog2() as usize;
    (page, cell - CELL_PAGE_MIN * ((1 << page) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_map_across_all_page_sizes() {
        let (mut paged, mut model) = (Paged::<u64>::default(), BTreeMap::new());
        let mut series = 1u32;
        for n in 0..6000u64 {
            series = series.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = series % 9000;
            *paged.entry(key) += n;
            *model.entry(key).or_insert(0) += n;
        }
        assert_eq!(paged.len(), model.len());
        assert!(paged.iter().map(|(key, cell)| (key, *cell)).eq(model.iter().map(|(key, cell)| (*key, *cell))));
        assert!((0..9100).all(|key| paged.get(key).copied() == model.get(&key).copied()));
    }
}
