import numpy as np
from small_images import rng

from debias_pipeline.biased_data.corruptions import SHEET_GAP, contact_sheet, corrupt


def test_contact_sheet_shows_all(images):
    sheet = contact_sheet(images[:2], seed=0)
    pitch = 32 + SHEET_GAP
    assert sheet.dtype == np.uint8
    assert sheet.shape == (10 * pitch - SHEET_GAP, 12 * pitch - SHEET_GAP, 3)
    for row in range(10):
        for which in range(2):
            cell = sheet[row * pitch :, which * 6 * pitch :][:32, :32]
            assert np.array_equal(cell, images[which])
    jpeg = sheet[7 * pitch :, (6 + 4) * pitch :][:32, :32]
    assert np.array_equal(jpeg, corrupt(images[1:2], "JPEG", 4, rng())[0])
    assert (sheet[32 : 32 + SHEET_GAP] == 255).all()
    assert np.array_equal(sheet, contact_sheet(images[:2], seed=0))
