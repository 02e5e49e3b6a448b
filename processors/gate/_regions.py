"""Words by which headers name species, body parts and views, in English and Spanish.

Without accents, upper case. Vocabulary of CID 4009 and 4010 and of what technicians type.
"""

from __future__ import annotations

from processors.gate._text import words

HUMAN = words("human humano humana sapiens")
ANIMAL = words(
    "canine canino feline felino equine equino bovine porcine avian veterinary veterinaria "
    "veterinario dog cat horse perro gato caballo"
)
LIMBS_TRUNK_AND_NECK = words(
    "knee rodilla hip cadera pelvis pelvic pelvica hand mano wrist muneca elbow codo foot pie "
    "ankle tobillo femur tibia fibula perone humerus humero forearm antebrazo finger dedo toe leg "
    "pierna arm brazo extremity extremidad shoulder hombro clavicle clavicula teeth dental dientes "
    "panoramic orthopantomogram ortopantomografia mandible mandibula jaw sinus senos neck cuello "
    "spine columna cspine lspine tspine lumbar cervical sacrum sacro coccyx abdomen abdominal kub "
    "calcaneus scapula escapula sternum esternon rib ribs costilla costillas parrilla heel talon "
    "patella rotula"
)
SKULL = words("skull craneo head cabeza")
BREAST = words("breast mama mammo mamografia")
CHEST = words("chest thorax torax lung lungs pulmon")
# what is examined by resonance or ultrasound, next to what a radiograph shows
SOFT_ORGANS = words(
    "heart cardiac corazon cardiaca echocardiogram ecocardiograma fetal fetus feto obstetric "
    "obstetrica obstetrical liver higado hepatic hepatica kidney rinon renal prostate prostata "
    "uterus utero thyroid tiroides testis scrotum escroto carotid carotida axilla axila bladder "
    "vejiga pancreas spleen bazo gallbladder vesicula bowel rectum recto dorsal thoracic sacroiliac"
)
NOT_CHEST = LIMBS_TRUNK_AND_NECK | SKULL | BREAST
NOT_BRAIN = LIMBS_TRUNK_AND_NECK | SOFT_ORGANS | BREAST | CHEST
NOT_BREAST = (LIMBS_TRUNK_AND_NECK | SOFT_ORGANS | SKULL | CHEST) - words("senos")
# in free text these also mean other things: de pie (standing), senos costofrenicos, C-arm, coils
AMBIGUOUS = words("pie senos arm leg head neck mama talon")
FRONTAL = words("PA AP posteroanterior anteroposterior postero antero")
LATERAL = words(
    "LL RL LLD RLD lat lateral lateralis perfil oblique oblicua oblicuo LAO RAO LPO RPO LLO RLO "
    "decubitus decubito"
)
# a filled-in field that says nothing
SILENT = words("unknown other none unspecified default na desconocido otro ninguno")
